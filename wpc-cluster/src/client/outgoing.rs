//! A call as its caller submitted it, ready to be sent to any node.

use super::stored_arguments::StoredArguments;
use crate::wire::{ArgumentsForm, Body, Request};
use bytes::Bytes;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::Instant;
use wpc_deploy::DeployedFunction;
use wpc_host::{
    CallArguments, CallOptions, Error, FuelMeter, FuelReport, FunctionHash, ReplyFormat,
};

/// The time limit of a call if neither its caller nor its definition states one: that of pools.
const DEFAULT_LIMIT: Duration = Duration::from_secs(30);

/// A call as its caller submitted it.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Everything that is the same in all attempts. The deadline is set when it is sent.
    pub(super) request: Request,
    pub(super) body: Bytes,
    /// The body as an object, if it does not fit a message.
    pub(super) stored: OnceLock<StoredArguments>,
    pub(super) format: ReplyFormat,
    pub(super) is_pure: bool,
    /// The fuel that it used, if the function is metered.
    pub(super) fuel: Option<FuelReport>,
    pub(super) waits: bool,
    /// The module that the caller requires.
    pub(super) pin: Option<FunctionHash>,
    pub(super) limit: Duration,
    pub(super) deadline: Instant,
}

impl Outgoing {
    pub(super) fn new(
        target: &DeployedFunction,
        arguments: CallArguments,
        format: ReplyFormat,
        options: &CallOptions,
    ) -> Result<Self, Error> {
        let name = target.information.name.as_str();
        let chosen = options.get_timeout();
        let own = target.time_limit.unwrap_or(DEFAULT_LIMIT);
        let limit = options.time_limit(own);
        let (arguments, body) = match arguments {
            CallArguments::Positional(values) => (ArgumentsForm::Json, json(name, &values)?),
            CallArguments::Named(values) => (ArgumentsForm::Named, json(name, &values)?),
            CallArguments::Encoded(bytes) => (ArgumentsForm::Encoded, bytes),
            CallArguments::Bytes(bytes) => (ArgumentsForm::Bytes, bytes),
            other => {
                return Err(Error::unreachable(name, format!("the cluster cannot send {other:?}")));
            }
        };
        let mut request = Request::new(0, name);
        // Otherwise the function's own limit applies, and reaching it is a failure of the function.
        request.limits_time =
            chosen.is_some_and(|chosen| chosen < own || !options.is_within_limits());
        request.within_limits = options.is_within_limits();
        request.arguments = arguments;
        request.result = match format {
            ReplyFormat::Encoded => ArgumentsForm::Encoded,
            ReplyFormat::Bytes => ArgumentsForm::Bytes,
            _ => ArgumentsForm::Json,
        };
        request.fuel = options.get_fuel();
        request.affinity = options.get_affinity();
        request.trace = options
            .get_trace_context()
            .map(|trace| (trace.to_string(), trace.state().map(str::to_owned)));
        request.correlation_id = options.get_correlation_id().map(str::to_owned);
        let outgoing = Self {
            request,
            body: body.into(),
            stored: OnceLock::new(),
            format,
            is_pure: target.is_pure,
            fuel: target.is_metered.then(FuelReport::new),
            waits: options.waits_for_capacity(),
            pin: options.get_pin(),
            limit,
            deadline: Instant::now() + limit,
        };
        outgoing.check_pin(target)?;
        Ok(outgoing)
    }

    /// Where the arguments are stored, if they do not fit a message and were stored.
    pub(super) fn stored_body(&self) -> Option<&Body> {
        self.stored.get().and_then(StoredArguments::body)
    }

    /// Reads the fuel that it used.
    pub(super) fn fuel_meter(&self) -> FuelMeter {
        self.fuel.as_ref().map(FuelReport::meter).unwrap_or_default()
    }

    /// Refuses a module other than the one that the caller requires.
    pub(super) fn check_pin(&self, target: &DeployedFunction) -> Result<(), Error> {
        let found = target.information.function_hash_sha1;
        match self.pin {
            Some(expected) if expected != found => {
                Err(Error::pin_mismatch(&self.request.function, expected, found))
            }
            _ => Ok(()),
        }
    }
}

fn json(function: &str, value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| {
        Error::unreachable(function, format!("its arguments are not JSON: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wpc_host::{FunctionInformation, Sha256Hash};

    #[test]
    fn within_limits_a_longer_limit_of_the_caller_is_that_of_the_function() {
        let information = FunctionInformation::new("f", FunctionHash::of(b""));
        let mut target = DeployedFunction::new(information, Sha256Hash::of(b""));
        target.time_limit = Some(Duration::from_secs(1));
        for (chosen, within, limit, is_callers) in [
            (None, false, 1000, false),
            (Some(5000), false, 5000, true),
            (Some(5000), true, 1000, false),
            (Some(1000), true, 1000, false),
            (Some(500), true, 500, true),
        ] {
            let mut options = CallOptions::new();
            if let Some(chosen) = chosen {
                options = options.timeout(Duration::from_millis(chosen));
            }
            if within {
                options = options.within_limits();
            }
            let arguments = CallArguments::Bytes(Vec::new());
            let outgoing = Outgoing::new(&target, arguments, ReplyFormat::Bytes, &options).unwrap();
            assert_eq!(outgoing.limit, Duration::from_millis(limit), "{chosen:?} {within}");
            assert_eq!(outgoing.request.limits_time, is_callers, "{chosen:?} {within}");
        }
    }
}
