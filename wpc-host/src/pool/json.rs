//! Calls, constants and host functions with JSON, by the types that a module declares.

use super::WorkerProcedureCall;
use crate::call::pending::PendingCall;
use crate::call::reply::encode_reply;
use crate::codec::json;
use crate::error::Error;
use crate::host_function::{HostContext, HostFunction};
use crate::information::DeclaredType;
use crate::module::signature;
use crate::options::CallOptions;
use crate::pool::Changes;
use crate::pool::definitions::constants::encoded_constant;
use crate::pool::intake::{self, Reader};
use crate::registry::types::ConstantType;
use crate::registry::{Change, Function};
use postcard_schema::schema::owned::{OwnedDataModelType, OwnedNamedType};
use serde_json::Value;
use std::sync::Arc;
use wpc_abi::compare::unknown;
use wpc_abi::reply::{TAG_BAD_ARGUMENTS, TAG_ERROR, TAG_VALUE};
use wpc_abi::{GuestError, text};

impl Changes {
    /// Defines a constant as
    /// [`define_worker_constant_json`](WorkerProcedureCall::define_worker_constant_json) does.
    pub fn define_constant_json(self, name: &str, ty: &str, value: &Value) -> Self {
        self.add(constant_json(name, ty, value))
    }

    /// Defines a constant as [`define_worker_constant_as`](WorkerProcedureCall::define_worker_constant_as) does.
    pub fn define_constant_as(self, name: &str, ty: &DeclaredType, value: &Value) -> Self {
        self.add(constant_as(name, ty, value))
    }
}

fn constant_json(name: &str, ty: &str, value: &Value) -> Change {
    match ty.parse::<DeclaredType>() {
        Ok(ty) => constant_as(name, &ty, value),
        Err(error) => {
            let reason = format!("{ty:?} is not a type: {error}");
            encoded_constant(name, ConstantType::Shown(unknown()), Err(reason))
        }
    }
}

fn constant_as(name: &str, ty: &DeclaredType, value: &Value) -> Change {
    let encoded = json::encode(name, &ty.0, value);
    encoded_constant(name, ConstantType::Declared(ty.0.clone()), encoded)
}

impl WorkerProcedureCall {
    /// Calls a function with JSON and blocks until it is answered with JSON, converted by the types that its module
    /// declares. See the table in the [crate documentation](crate#json). Requires the feature `json`.
    ///
    /// # Errors
    ///
    /// [`Error::BadArguments`] with the argument that does not fit, the position in it, and the expected type;
    /// [`Error::Untyped`] if the module declares no types; or any other reason to refuse a call or to fail it.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use wpc_host::{Options, WorkerProcedureCall};
    /// # let wpc = WorkerProcedureCall::new(Options::default())?;
    /// # let wasm = wat::parse_str(r#"(module (func (export "half") (param f64) (result f64)
    /// #     local.get 0 f64.const 2 f64.div))"#)?;
    /// wpc.define_worker_function("half", &wasm)?;
    /// wpc.start_workers(1)?;
    /// assert_eq!(wpc.call_json("half", &[serde_json::json!(3)])?, serde_json::json!(1.5));
    /// # Ok(()) }
    /// ```
    pub fn call_json(&self, name: &str, arguments: &[Value]) -> Result<Value, Error> {
        self.submit_json(name, arguments, &CallOptions::new())?.wait()
    }

    /// Like [`define_worker_constant`](Self::define_worker_constant), with a JSON value and the type that guests read it
    /// as, in the syntax of [`wpc_abi::text::parse_type`]. Requires the feature `json`.
    ///
    /// # Errors
    ///
    /// [`Error::ConstantEncode`] if the text is not a type or the value does not fit it, or an error of
    /// [`define_worker_constant`](Self::define_worker_constant). In that case, nothing is changed.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use wpc_host::{Options, WorkerProcedureCall};
    /// # let wpc = WorkerProcedureCall::new(Options::default())?;
    /// let prices = serde_json::json!({ "tea": 3, "coffee": 4 });
    /// wpc.define_worker_constant_json("PRICES", "Map<String, u32>", &prices)?;
    /// # Ok(()) }
    /// ```
    pub fn define_worker_constant_json(
        &self,
        name: &str,
        ty: &str,
        value: &Value,
    ) -> Result<(), Error> {
        self.change(constant_json(name, ty, value)).map(drop)
    }

    /// Like [`define_worker_constant_json`](Self::define_worker_constant_json), with a type that a module
    /// [declares](crate::WasmModule::constant_types). Requires the feature `json`.
    ///
    /// # Errors
    ///
    /// [`Error::ConstantEncode`] if the value does not fit the type, or an error of
    /// [`define_worker_constant`](Self::define_worker_constant). In that case, nothing is changed.
    pub fn define_worker_constant_as(
        &self,
        name: &str,
        ty: &DeclaredType,
        value: &Value,
    ) -> Result<(), Error> {
        self.change(constant_as(name, ty, value)).map(drop)
    }

    /// Like [`define_host_function`](Self::define_host_function), with JSON and a signature in the syntax of
    /// [`wpc_abi::text::parse_signature`]. It is meant for tools and tests; programs should declare Rust types.
    /// Requires the feature `json`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOptions`] if the signature cannot be read, [`Error::InvalidName`], or [`Error::TypeMismatch`] if a
    /// defined module imports it with other types.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use wpc_host::{Options, WorkerProcedureCall};
    /// # let wpc = WorkerProcedureCall::new(Options::default())?;
    /// wpc.define_host_function_json("price", "(item: String) -> u32", |_, arguments| {
    ///     match arguments[0].as_str() {
    ///         Some("tea") => Ok(serde_json::json!(3)),
    ///         _ => Err(wpc_host::GuestError::new("NoPrice", "the item has no price")),
    ///     }
    /// })?;
    /// # Ok(()) }
    /// ```
    pub fn define_host_function_json<F>(
        &self,
        name: &str,
        signature: &str,
        function: F,
    ) -> Result<(), Error>
    where
        F: Fn(&HostContext, &[Value]) -> Result<Value, GuestError> + Send + Sync + 'static,
    {
        let refused = |reason: &str| Error::InvalidOptions {
            problems: vec![format!("the signature of host function \"{name}\": {reason}")],
        };
        let signature =
            text::parse_signature(name, signature).map_err(|error| refused(&error.to_string()))?;
        let types: Option<Vec<_>> =
            signature.arguments.iter().map(|argument| argument.ty.clone()).collect();
        let (Some(types), Some(result)) = (types, signature.result.clone()) else {
            return Err(refused("each argument and the result need a type"));
        };
        let arguments =
            OwnedNamedType { name: "arguments".to_owned(), ty: OwnedDataModelType::Tuple(types) };
        let function = HostFunction::encoded(name, move |context, encoded| {
            let values = match json::decode(&arguments, encoded) {
                Ok(Value::Array(values)) => values,
                Ok(_) => Vec::new(),
                Err(reason) => return encode_reply(TAG_BAD_ARGUMENTS, &reason),
            };
            let value = function(context, &values).and_then(|value| {
                json::encode("result", &result, &value)
                    .map_err(|reason| GuestError::new("EncodeError", reason))
            });
            match value {
                Ok(value) => [&[TAG_VALUE], value.as_slice()].concat(),
                Err(error) => encode_reply(TAG_ERROR, &error),
            }
        });
        let (name, signature) = (name.to_owned(), Some(signature));
        self.change(Change::HostFunction { name, signature, function }).map(drop)
    }

    /// Encodes the arguments of a function once, for many calls of [`submit_encoded`](Self::submit_encoded). Requires the
    /// feature `json`.
    ///
    /// # Errors
    ///
    /// [`Error::FunctionNotDefined`], [`Error::Untyped`], or [`Error::BadArguments`].
    pub fn encode_json(&self, name: &str, arguments: &[Value]) -> Result<Vec<u8>, Error> {
        let undefined = || Error::FunctionNotDefined { function: name.to_owned() };
        encode(&*self.registry().function(name).ok_or_else(undefined)?, arguments)
    }

    /// Like [`call_json`](Self::call_json), without waiting for the answer, and with options for this call.
    /// Requires the feature `json`.
    ///
    /// # Errors
    ///
    /// Any reason to refuse a call, see [`Error`].
    pub fn submit_json(
        &self,
        name: &str,
        arguments: &[Value],
        options: &CallOptions,
    ) -> Result<PendingCall<Value>, Error> {
        let pool = &self.0.pool;
        let function = intake::defined(pool, pool.registry.function(name), name)?;
        let encode = |function: &Function| encode(function, arguments);
        let call =
            intake::submit_encoded(pool, Arc::clone(&function), encode, options, Reader::Caller)?;
        Ok(PendingCall::decoded_by(call, move |value| decode(&function, value)))
    }
}

pub(super) fn encode(function: &Function, arguments: &[Value]) -> Result<Vec<u8>, Error> {
    let name = || function.name.to_string();
    let signature = signature::known(function.export());
    let signature = signature.ok_or_else(|| Error::Untyped { function: name() })?;
    json::encode_arguments(&signature, arguments)
        .map_err(|reason| Error::BadArguments { function: name(), reason })
}

pub(super) fn decode(function: &Function, value: &[u8]) -> Result<Value, Error> {
    decode_result(function, value, json::decode)
}

/// The JSON text of a function's result.
pub(super) fn decode_to_text(function: &Function, value: &[u8]) -> Result<Vec<u8>, Error> {
    decode_result(function, value, json::decode_to_text)
}

type Decode<T> = fn(&OwnedNamedType, &[u8]) -> Result<T, String>;

fn decode_result<T>(function: &Function, value: &[u8], decode: Decode<T>) -> Result<T, Error> {
    let signature = signature::known(function.export());
    let ty = signature.as_ref().and_then(|signature| signature.result.as_ref());
    decode_as(ty, function, value, decode)
}

/// The JSON of an item that a function yields.
pub(super) fn decode_item(function: &Function, item: &[u8]) -> Result<Value, Error> {
    let signature = signature::known(function.export());
    let ty = signature.as_ref().and_then(|signature| signature.items.ty());
    decode_as(ty, function, item, json::decode)
}

fn decode_as<T>(
    ty: Option<&OwnedNamedType>,
    function: &Function,
    value: &[u8],
    decode: Decode<T>,
) -> Result<T, Error> {
    let declared = ty.ok_or_else(|| "the module does not declare its type".to_owned());
    declared.and_then(|ty| decode(ty, value)).map_err(|reason| Error::ResultDecode {
        function: function.name.to_string(),
        wanted: "JSON",
        reason,
    })
}
