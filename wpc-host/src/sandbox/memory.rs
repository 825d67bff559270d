//! The only code that accesses guest memory. Every range that a guest passes is checked against the current size of the
//! memory; no reference is kept across a call into the guest.

use super::failure::Failure;
use super::state::State;
use crate::error::counted;
use wasmtime::{AsContext, AsContextMut, Memory};

/// The bytes at `ptr`; if they are out of bounds, the failure names them by `what`.
#[inline(always)]
pub(super) fn read<'a>(
    memory: Memory,
    store: &'a impl AsContext<Data = State>,
    ptr: u32,
    len: u32,
    what: &str,
) -> Result<&'a [u8], Failure> {
    let data = memory.data(store);
    let size = data.len();
    range(ptr, len).and_then(|range| data.get(range)).ok_or_else(|| outside(what, ptr, len, size))
}

/// The writable buffer at `ptr`; if it is out of bounds, the failure names it by `what`.
#[inline(always)]
pub(super) fn buffer<'a>(
    memory: Memory,
    store: &'a mut impl AsContextMut<Data = State>,
    ptr: u32,
    len: u32,
    what: &str,
) -> Result<&'a mut [u8], Failure> {
    let data = memory.data_mut(store);
    let size = data.len();
    range(ptr, len)
        .and_then(|range| data.get_mut(range))
        .ok_or_else(|| outside(what, ptr, len, size))
}

fn range(ptr: u32, len: u32) -> Option<std::ops::Range<usize>> {
    let (start, len) = (usize::try_from(ptr).ok()?, usize::try_from(len).ok()?);
    Some(start..start.checked_add(len)?)
}

#[cold]
fn outside(what: &str, ptr: u32, len: u32, size: usize) -> Failure {
    Failure::Contract(format!(
        "{what} is outside its memory: {} at {ptr}, but the memory has {}",
        counted(len as usize, "byte"),
        counted(size, "byte")
    ))
}
