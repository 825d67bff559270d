//! A pool as the [`Backend`] of a server.

use super::WorkerProcedureCall;
use crate::backend::{
    Backend, BackendReply, CallArguments, ReplyFormat, ReplyValue, StreamPart, SubmittedCall,
    SubmittedStream, Warming,
};
use crate::call::fuel_meter::FuelMeter;
use crate::call::pending::{Answer, PendingCall};
use crate::call::stream::{ItemStream, StreamError};
use crate::codec::json::{bytes_of, encode_bytes, positional};
use crate::error::Error;
use crate::event::EventSubscription;
use crate::event::observer::FinishedCallSampler;
use crate::id::FunctionHash;
use crate::information::{FunctionHealth, FunctionInformation, PoolHealth, PoolMetrics};
use crate::module::signature;
use crate::options::{CallOptions, StreamOptions};
use crate::pool::intake::{self, Reader};
use crate::pool::{json, streams};
use crate::registry::Function;
use futures_core::Stream;
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The maximum length in bytes of a result whose conversion takes microseconds only.
const MAX_QUICK: usize = 64 << 10;

/// Yields once: it is ready when it is polled again. The first poll may run on the worker's thread, if the waker polls the future. A large result must be
/// converted elsewhere.
async fn poll_again() {
    let mut is_ready = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut is_ready, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Backend for WorkerProcedureCall {
    fn submit(
        &self,
        name: &str,
        arguments: CallArguments,
        format: ReplyFormat,
        options: &CallOptions,
    ) -> Result<SubmittedCall, Error> {
        let pool = &self.0.pool;
        let function = intake::defined(pool, pool.registry.function(name), name)?;
        if format == ReplyFormat::Bytes {
            has_bytes_result(&function)?;
        }
        let encode = |function: &Function| encode(function, arguments);
        let call =
            intake::submit_encoded(pool, Arc::clone(&function), encode, options, Reader::Caller)?;
        let (id, hash, fuel) = (call.id, function.module.hash, FuelMeter::of(&call));
        let answer = PendingCall::<()>::new(call).answer_encoded();
        let call = SubmittedCall::new(id, hash, async move {
            let Answer { value, metadata } = answer.await?;
            let is_converted = matches!(format, ReplyFormat::Json | ReplyFormat::JsonText);
            if is_converted && value.len() > MAX_QUICK {
                poll_again().await;
            }
            let value = match format {
                ReplyFormat::Json => ReplyValue::Json(json::decode(&function, &value)?),
                ReplyFormat::JsonText => {
                    ReplyValue::JsonText(json::decode_to_text(&function, &value)?)
                }
                ReplyFormat::Encoded => ReplyValue::Encoded(value),
                ReplyFormat::Bytes => ReplyValue::Bytes(bytes_of(value).map_err(|reason| {
                    let function = function.name.to_string();
                    Error::ResultDecode { function, wanted: "bytes", reason }
                })?),
            };
            Ok(BackendReply { value, metadata })
        });
        Ok(call.with_fuel_meter(fuel))
    }

    fn stream(
        &self,
        name: &str,
        arguments: CallArguments,
        options: &StreamOptions,
    ) -> Result<SubmittedStream, Error> {
        let pool = &self.0.pool;
        let function = intake::defined(pool, pool.registry.function(name), name)?;
        let hash = function.module.hash;
        let encode = |function: &Function| encode(function, arguments);
        let stream = streams::stream_json(pool, function, encode, options)?;
        let (id, fuel) = (stream.id(), stream.fuel_meter());
        Ok(SubmittedStream::new(id, hash, Parts::Items(Box::new(stream))).with_fuel_meter(fuel))
    }

    fn function(&self, name: &str) -> Option<FunctionInformation> {
        self.function_information(name)
    }

    fn functions(&self) -> Vec<FunctionInformation> {
        self.get_remote_functions()
    }

    fn visit_names(&self, visit: &mut dyn FnMut(&str) -> bool) {
        self.registry().visit_names(visit);
    }

    fn function_hash(&self, name: &str) -> Option<FunctionHash> {
        self.registry().function(name).map(|function| function.module.hash)
    }

    fn definitions_version(&self) -> u64 {
        self.registry().version()
    }

    fn revive(&self, function: &str) -> Result<bool, Error> {
        self.revive_worker_function(function)
    }

    fn warm(&self, function: &str) -> Warming {
        Box::pin(self.warm_worker_function_async(function))
    }

    fn subscribe(&self, capacity: usize) -> EventSubscription {
        self.subscribe(capacity)
    }

    fn sample_finished_calls(&self, sampler: Option<FinishedCallSampler>) {
        self.0.pool.observer.set_sampler(sampler);
    }

    fn metrics(&self) -> PoolMetrics {
        self.metrics()
    }

    fn health(&self) -> PoolHealth {
        self.health()
    }

    fn function_health(&self) -> Vec<FunctionHealth> {
        self.function_health()
    }
}

fn encode(function: &Function, arguments: CallArguments) -> Result<Vec<u8>, Error> {
    let signature = || {
        signature::known(function.export())
            .ok_or_else(|| Error::Untyped { function: function.name.to_string() })
    };
    let bad = |reason| Error::BadArguments { function: function.name.to_string(), reason };
    match arguments {
        CallArguments::Positional(values) => json::encode(function, &values),
        CallArguments::Named(values) => {
            json::encode(function, &positional(&*signature()?, values).map_err(bad)?)
        }
        CallArguments::Encoded(bytes) => Ok(bytes),
        CallArguments::Bytes(bytes) => encode_bytes(&*signature()?, bytes).map_err(bad),
    }
}

/// Refuses a call whose result is requested as bytes but has another type.
fn has_bytes_result(function: &Function) -> Result<(), Error> {
    let signature = signature::known(function.export());
    let result = signature.as_ref().and_then(|signature| signature.result.as_ref());
    let reason = match result {
        Some(ty) if crate::codec::json::is_bytes(ty) => return Ok(()),
        Some(ty) => format!("the result is `{}`", wpc_abi::text::type_text(ty)),
        None => "the module does not declare the type of the result".to_owned(),
    };
    let reason = format!("{reason}; only a byte sequence or a string can be returned as bytes");
    Err(Error::BadArguments { function: function.name.to_string(), reason })
}

/// The items of a call, and then its result.
enum Parts {
    Items(Box<ItemStream<Value, Value>>),
    Answer(Pin<Box<dyn Future<Output = Result<Answer<Value>, StreamError>> + Send>>),
    Ended,
}

impl Stream for Parts {
    type Item = Result<StreamPart, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let part = match &mut *self {
                Self::Items(items) => {
                    match std::task::ready!(Pin::new(&mut **items).poll_next(context)) {
                        Some(Ok(item)) => return Poll::Ready(Some(Ok(StreamPart::Item(item)))),
                        Some(Err(error)) => Err(error),
                        None => {
                            if let Self::Items(items) = std::mem::replace(&mut *self, Self::Ended) {
                                *self = Self::Answer(Box::pin(items.answer()));
                            }
                            continue;
                        }
                    }
                }
                Self::Answer(answer) => {
                    std::task::ready!(answer.as_mut().poll(context)).map(|answer| {
                        let Answer { value, metadata } = answer;
                        let value = ReplyValue::Json(value);
                        StreamPart::Reply(BackendReply { value, metadata })
                    })
                }
                Self::Ended => return Poll::Ready(None),
            };
            *self = Self::Ended;
            return Poll::Ready(Some(part));
        }
    }
}
