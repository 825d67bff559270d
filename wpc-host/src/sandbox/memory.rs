//! The only code that touches guest memory. Every place a guest names is checked against the memory
//! as it is at that moment; nothing is kept across a call into the guest.

use super::environment::Failure;
use super::state::State;
use wasmtime::{AsContext, AsContextMut, Memory};

/// The bytes at `ptr`, or the failure that names who passed what.
#[inline]
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

/// The room at `ptr`, or the failure that names who passed what.
#[inline]
pub(super) fn room<'a>(
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
        "{what} lies outside its memory: {len} bytes at {ptr}, and the memory has {size}"
    ))
}
