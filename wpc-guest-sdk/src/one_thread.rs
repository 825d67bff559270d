//! State of a sandbox, which has one thread.

/// The content of a static. Smaller than a thread-local, and available without `std`.
pub(crate) struct OneThread<T>(pub(crate) T);

// SAFETY: a sandbox has one thread: the host provides no function that starts another, and rejects modules with shared
// memory.
unsafe impl<T> Sync for OneThread<T> {}
