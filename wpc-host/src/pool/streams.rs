//! Calls to functions that yield items.

use crate::call::items::{Bounds, Items};
#[cfg(feature = "json")]
use crate::call::pending::PendingCall;
use crate::call::stream::ItemStream;
use crate::codec::arguments::{Arguments, Parameters};
use crate::error::Error;
use crate::module::signature;
use crate::options::StreamOptions;
use crate::pool::WorkerProcedureCall;
use crate::pool::function::Function;
use crate::pool::intake;
#[cfg(feature = "json")]
use crate::pool::intake::Reader;
#[cfg(feature = "json")]
use crate::pool::json;
use crate::registry;
#[cfg(feature = "json")]
use crate::supervisor::workers::Pool;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use wpc_abi::Schema;

impl WorkerProcedureCall {
    /// Calls a function that yields items of type `T` before its result of type `R`. `arguments` is a tuple, as for
    /// [`call`](Self::call), and all types are compared with the declared ones as there. A function that yields no items can
    /// also be called in this way.
    ///
    /// # Errors
    ///
    /// [`Error::SignatureMismatch`] if the types differ, or any other reason to refuse a call, see [`Error`].
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let wpc = wpc_host::WorkerProcedureCall::new(wpc_host::Options::default())?;
    /// # let log = Vec::<u8>::new();
    /// // A plug-in with `#[wpc::function(yields = String)] fn lines(log: Vec<u8>) -> u64`.
    /// let mut lines = wpc.stream::<String, u64>("lines", (log,))?;
    /// for line in &mut lines {
    ///     println!("{}", line?);
    /// }
    /// println!("{} lines", lines.finish()?);
    /// # Ok(()) }
    /// ```
    pub fn stream<T, R>(
        &self,
        name: &str,
        arguments: impl Serialize,
    ) -> Result<ItemStream<T, R>, Error>
    where
        T: DeserializeOwned + 'static,
        R: DeserializeOwned + 'static,
    {
        self.stream_with(name, arguments, &StreamOptions::new())
    }

    /// Like [`stream`](Self::stream), with options for this call.
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call, see [`Error`].
    pub fn stream_with<T, R>(
        &self,
        name: &str,
        arguments: impl Serialize,
        options: &StreamOptions,
    ) -> Result<ItemStream<T, R>, Error>
    where
        T: DeserializeOwned + 'static,
        R: DeserializeOwned + 'static,
    {
        let pool = &self.0.pool;
        let function = intake::defined(pool, pool.registry.function(name), name)?;
        let decode = decoder::<T>(&function)?;
        let items = new_items(&function, options)?;
        let pending = intake::stream_by_name(pool, function, &arguments, &options.call, &items)?;
        Ok(ItemStream::new(pending, items, decode))
    }

    /// Like [`stream`](Self::stream), with JSON: arguments, items and result are converted by the types that the module
    /// declares, see the table in the [crate documentation](crate#json). Requires the feature `json`.
    ///
    /// # Errors
    ///
    /// [`Error::BadArguments`] or [`Error::Untyped`], as for [`call_json`](Self::call_json), or any other reason to refuse a
    /// call.
    #[cfg(feature = "json")]
    pub fn stream_json(
        &self,
        name: &str,
        arguments: &[serde_json::Value],
        options: &StreamOptions,
    ) -> Result<ItemStream<serde_json::Value, serde_json::Value>, Error> {
        let pool = &self.0.pool;
        let function = intake::defined(pool, pool.registry.function(name), name)?;
        stream_json(pool, function, |function| json::encode(function, arguments), options)
    }
}

/// Submits a call whose items and result are JSON.
#[cfg(feature = "json")]
pub(super) fn stream_json(
    pool: &Pool,
    function: Arc<registry::Function>,
    encode: impl FnOnce(&registry::Function) -> Result<Vec<u8>, Error>,
    options: &StreamOptions,
) -> Result<ItemStream<serde_json::Value, serde_json::Value>, Error> {
    let items = new_items(&function, options)?;
    let reader = Reader::Items(&items);
    let call = intake::submit_encoded(pool, Arc::clone(&function), encode, &options.call, reader)?;
    let of_result = Arc::clone(&function);
    let pending = PendingCall::decoded_by(call, move |value| json::decode(&of_result, value));
    Ok(ItemStream::new(pending, items, move |item| json::decode_item(&function, item)))
}

impl<P: Parameters, R: DeserializeOwned + Schema + 'static> Function<P, R> {
    /// Calls the function, which yields items of type `T` before its result, see
    /// [`WorkerProcedureCall::stream`].
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call, see [`Error`].
    pub fn stream<T: DeserializeOwned + 'static>(
        &self,
        arguments: impl Arguments<P>,
    ) -> Result<ItemStream<T, R>, Error> {
        self.stream_with(arguments, &StreamOptions::new())
    }

    /// Like [`stream`](Self::stream), with options for this call.
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call, see [`Error`].
    pub fn stream_with<T: DeserializeOwned + 'static>(
        &self,
        arguments: impl Arguments<P>,
        options: &StreamOptions,
    ) -> Result<ItemStream<T, R>, Error> {
        let pool = &self.lifecycle().pool;
        let function = self.checked()?;
        let decode = decoder::<T>(&function)?;
        let items = new_items(&function, options)?;
        let pending = intake::stream(pool, function, &arguments, &options.call, &items)?;
        Ok(ItemStream::new(pending, items, decode))
    }
}

/// The decoder of a function's items, whose type is compared with the declared one.
fn decoder<T: DeserializeOwned + 'static>(
    function: &Arc<registry::Function>,
) -> Result<impl Fn(&[u8]) -> Result<T, Error> + Send + Sync + 'static, Error> {
    let declared = signature::known(function.export());
    let decode = function.types.items::<T>(&function.name, declared.as_deref());
    decode.inspect_err(|error| function.meter.count_elsewhere(error.code()))
}

/// The buffer of a stream.
pub(super) fn new_items(
    function: &registry::Function,
    options: &StreamOptions,
) -> Result<Arc<Items>, Error> {
    let StreamOptions { max_waiting_items: items, max_waiting_bytes: bytes, .. } = *options;
    if items == 0 || bytes == 0 {
        let name = if items == 0 { "max_waiting_items" } else { "max_waiting_bytes" };
        let error = Error::InvalidCallOptions {
            function: function.name.to_string(),
            problem: format!("`StreamOptions::{name}` must be at least 1"),
        };
        function.meter.count_elsewhere(error.code());
        return Err(error);
    }
    Ok(Arc::new(Items::new(Bounds { items, bytes })))
}
