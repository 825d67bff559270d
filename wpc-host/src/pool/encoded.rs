//! Calls whose arguments are already encoded.

use super::WorkerProcedureCall;
use crate::call::pending::PendingCall;
use crate::error::Error;
use crate::options::CallOptions;
use crate::pool::intake::{self, Reader};
use std::borrow::Cow;

impl WorkerProcedureCall {
    /// Submits a call whose arguments are already encoded, in the format described in `docs/abi.md`.
    /// [`PendingCall::wait_encoded`] returns the answer in the same format. A `Vec<u8>` is used as it is; a slice is
    /// copied.
    ///
    /// Typed arguments are preceded by the length of each sequence, so even an owned `Vec<u8>` is copied once. A caller
    /// that fills the buffer itself saves that copy by writing the length first:
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let wpc = wpc_host::WorkerProcedureCall::new(wpc_host::Options::default())?;
    /// use std::io::Read as _;
    ///
    /// let file = std::fs::File::open("photo.jpg")?;
    /// let mut len = file.metadata()?.len();
    /// // The length as `docs/abi.md` specifies it: seven bits per byte, the lowest first.
    /// let mut arguments = Vec::new();
    /// while len > 127 {
    ///     arguments.push(len.to_le_bytes()[0] | 128);
    ///     len >>= 7;
    /// }
    /// arguments.push(len.to_le_bytes()[0]);
    /// let size = file.metadata()?.len();
    /// file.take(size).read_to_end(&mut arguments)?;
    /// let call = wpc.submit_encoded("resize", arguments, &wpc_host::CallOptions::new())?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call, see [`Error`].
    pub fn submit_encoded<'a>(
        &self,
        name: &str,
        arguments: impl Into<Cow<'a, [u8]>>,
        options: &CallOptions,
    ) -> Result<PendingCall<()>, Error> {
        let pool = &self.0.pool;
        let function = intake::defined(pool, pool.registry.function(name), name)?;
        let encode = |_: &_| {
            Ok(match arguments.into() {
                Cow::Owned(arguments) => arguments,
                Cow::Borrowed(arguments) => {
                    let mut buffer = pool.buffers.take(arguments.len());
                    buffer.extend_from_slice(arguments);
                    buffer
                }
            })
        };
        intake::submit_encoded(pool, function, encode, options, Reader::Caller)
            .map(PendingCall::new)
    }
}
