//! State of a sandbox, which has one thread.

/// A static's content. Smaller than a thread-local one, and there without `std`.
pub(crate) struct OneThread<T>(pub(crate) T);

// SAFETY: a sandbox has one thread: the host offers no way to make another, and refuses modules
// whose memory could be shared with one.
unsafe impl<T> Sync for OneThread<T> {}
