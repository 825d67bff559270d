//! A limit on the items of all sequences and maps of a value.
//!
//! Most items take at least one byte of the input that no other item takes: a byte of their own, or the byte of a nested
//! sequence's length. So a value whose items all take bytes has at most as many items as its input has bytes. Items that take
//! no bytes, as in `Vec<()>` or `Vec<Box<()>>`, are not bounded by the input: a few bytes could demand any number of them. All
//! of a value's items therefore share one budget: as many as the input has bytes, and a limited number and size beyond.

use std::cell::Cell;
use std::fmt;

/// How many more items a value may have than its input has bytes.
const MAX_ZERO_SIZED_ITEMS: usize = 1 << 16;

/// How much memory these additional items may take, in bytes, not counting what they allocate: 64 bytes for each.
const MAX_ZERO_SIZED_BYTES: usize = 4 << 20;

/// The items that a value may still have.
pub(crate) struct Budget {
    /// Those that may take bytes of the input.
    items: Cell<usize>,
    nothings: Cell<usize>,
    nothing_bytes: Cell<usize>,
}

/// When the items of a sequence or map are deducted from the budget.
#[derive(Clone, Copy)]
pub(crate) enum Payment {
    /// They were deducted already, or a type determines their number.
    Done,
    /// Each item is deducted when it is decoded.
    Each,
}

impl Budget {
    /// The budget of an input of this many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            items: Cell::new(bytes),
            nothings: Cell::new(MAX_ZERO_SIZED_ITEMS),
            nothing_bytes: Cell::new(MAX_ZERO_SIZED_BYTES),
        }
    }

    /// Deducts this many items at once, if the input can have as many.
    pub(crate) fn pay_all(&self, count: Option<usize>) -> Payment {
        match count.and_then(|count| self.items.get().checked_sub(count)) {
            Some(left) => {
                self.items.set(left);
                Payment::Done
            }
            None => Payment::Each,
        }
    }

    /// Deducts an item whose type has this size.
    pub(crate) fn pay(&self, bytes: usize) -> Result<(), TooManyItems> {
        if let Some(left) = self.items.get().checked_sub(1) {
            self.items.set(left);
            return Ok(());
        }
        self.nothings.set(self.nothings.get().checked_sub(1).ok_or(TooManyItems)?);
        self.nothing_bytes.set(self.nothing_bytes.get().checked_sub(bytes).ok_or(TooManyItems)?);
        Ok(())
    }
}

pub(crate) struct TooManyItems;

impl fmt::Display for TooManyItems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "it has more than {MAX_ZERO_SIZED_ITEMS} items, or {MAX_ZERO_SIZED_BYTES} bytes of items, that take no bytes"
        )
    }
}
