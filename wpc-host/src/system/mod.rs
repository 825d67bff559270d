pub(crate) mod background;
pub(crate) mod buffers;
pub(crate) mod changes;
pub(crate) mod contain;
pub(crate) mod epoch_ticker;
pub(crate) mod offload;
pub(crate) mod os_limits;
pub(crate) mod thread_waker;
