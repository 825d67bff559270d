//! The code, outcome, retry advice and text of every error, in one snapshot.

use super::*;
use crate::capability::Capability;
use crate::id::{FunctionHash, Sha256Hash, WorkerId};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use wpc_abi::GuestError;

fn trap(function: &str, reason: &str) -> Arc<Error> {
    let (function, reason) = (function.to_owned(), reason.to_owned());
    Arc::new(Error::Trap { function, reason, stack: String::new() })
}

/// The error of two changes that are both refused.
fn refused_changes() -> Error {
    let refusal =
        |change, kind, name: &str, error| Refusal { change, kind, name: name.to_owned(), error };
    let reason = "300 is out of range for u8".to_owned();
    let constant = Error::ConstantEncode { constant: "LIMIT".to_owned(), reason };
    let module = Error::NotWasm { what: "dependency \"rates\"".to_owned(), reason: "it is text" };
    Error::ChangesRefused {
        refusals: vec![
            refusal(0, Definable::Dependency, "rates", module),
            refusal(1, Definable::Constant, "LIMIT", constant),
        ],
    }
}

pub(crate) fn every_error() -> Vec<Error> {
    let f = || "resize".to_owned();
    let what = || "module \"resize.wasm\"".to_owned();
    vec![
        Error::InvalidOptions {
            problems: vec!["`call_timeout` must be longer than zero".to_owned()],
        },
        Error::InvalidCallOptions {
            function: f(),
            problem: "`CallOptions::timeout` must be longer than zero and at most one year"
                .to_owned(),
        },
        Error::InvalidName {
            what: "function",
            name: "2nd-try".to_owned(),
            rule: "have between 1 and 255 ASCII letters, digits or underscores, and not start with a digit",
        },
        Error::DependencyChain { alias: "a".to_owned(), limit: 256 },
        Error::denied("resize", "the server refuses messages to `wpc.v1.call.>`"),
        Error::unreachable("resize", "no node has it"),
        Error::connection_lost("resize", "node \"north\" has not reported for 900 ms"),
        Error::NotRunning,
        Error::AlreadyStarted,
        Error::StartFailed { cause: "worker_3 was not ready within 10000 ms".to_owned() },
        Error::OsLimit {
            what: "the thread of worker_3".to_owned(),
            resource: OsResource::MemoryMaps,
            needed: 8,
            used: 61_440,
            limit: 65_530,
            reserve: 4_095,
        },
        Error::OsLimit {
            what: "the engine for `max_live_instances` 1000".to_owned(),
            resource: OsResource::AddressSpace,
            needed: 4_329_327_034_368,
            used: 536_870_912,
            limit: 8_589_934_592,
            reserve: 67_108_864,
        },
        Error::OsLimit {
            what: "a memory mapping for the compiled code of function \"resize\"".to_owned(),
            resource: OsResource::FileDescriptors,
            needed: 1,
            used: 1010,
            limit: 1024,
            reserve: 16,
        },
        Error::OsLimit {
            what: "the thread of worker_3".to_owned(),
            resource: OsResource::Threads,
            needed: 1,
            used: 512,
            limit: 512,
            reserve: 0,
        },
        Error::NotWasm { what: what(), reason: "it is empty" },
        Error::Component { what: what() },
        Error::InvalidModule {
            what: what(),
            reason: "unexpected end-of-file (at offset 0x9)".to_owned(),
        },
        Error::UnsupportedProposal {
            what: what(),
            proposal: "64-bit memory",
            reason: "pointers of the contract have 32 bits; build for wasm32",
        },
        Error::ModuleTooLarge { what: what(), limit: 100, found: 101 },
        Error::CompileTimeout { what: what(), limit: Duration::from_secs(30) },
        Error::CompilerBusy { what: what(), busy: 64 },
        refused_changes(),
        Error::Sha256Mismatch {
            what: what(),
            expected: Sha256Hash::of(b"a"),
            found: Sha256Hash::of(b"b"),
        },
        Error::AbiVersion { what: what(), expected: 1, found: "7".to_owned() },
        Error::MalformedSection { what: what(), reason: "it ends inside a value".to_owned() },
        Error::MissingExport {
            what: what(),
            wanted: f(),
            offered: vec!["one".to_owned(), "two".to_owned()],
        },
        Error::AmbiguousExport { what: what(), offered: vec!["one".to_owned(), "two".to_owned()] },
        Error::ExportType { what: what(), export: f(), found: "a memory".to_owned() },
        Error::ExportOfCommand { what: what(), export: "malloc".to_owned() },
        Error::UnknownImport {
            what: what(),
            module: "wpc".to_owned(),
            name: "wpc_fly".to_owned(),
            reason: "\"wpc\" provides wpc_log".to_owned(),
        },
        Error::NotGranted {
            what: what(),
            module: "wpc".to_owned(),
            name: "wpc_clock".to_owned(),
            grant: Grant::Capability(Capability::Clock),
        },
        Error::MemoryTooLarge { what: what(), limit: 65_536, found: 131_072 },
        Error::TableTooLarge { what: what(), limit: 10, found: 12 },
        Error::DependencyCycle { path: vec!["a".to_owned(), "b".to_owned(), "a".to_owned()] },
        Error::DependencyExport {
            importer: what(),
            alias: "codec".to_owned(),
            export: "encode".to_owned(),
            reason: "it has no such export; its exports: decode".to_owned(),
        },
        Error::TypeMismatch {
            module: what(),
            item: "constant \"LIMIT\"".to_owned(),
            part: String::new(),
            expected: "`u32`".to_owned(),
            found: "`i64`".to_owned(),
        },
        Error::TypeMismatch {
            module: what(),
            item: "function \"stem\" of dependency \"stemmer\"".to_owned(),
            part: "parameter 1, field `tags` of `Comment`".to_owned(),
            expected: "`Vec<String>`".to_owned(),
            found: "`u32`".to_owned(),
        },
        Error::TooManyInstances {
            what: what(),
            needed: 3,
            limit: 2,
            option: Setting::Options("max_live_instances".into()),
        },
        Error::InstancesInUse { function: "resize".to_owned(), needed: 3, limit: 8 },
        Error::ConstantEncode { constant: "PREFIX".to_owned(), reason: "on purpose".to_owned() },
        Error::FunctionNotDefined { function: f() },
        Error::DependencyNotDefined { function: f(), alias: "codec".to_owned() },
        Error::ConstantNotDefined { function: f(), constant: "PREFIX".to_owned() },
        Error::HostFunctionNotDefined { function: f(), host_function: "lookup".to_owned() },
        Error::RecursiveCall { function: f(), chain: [f(), "resize".to_owned(), f()].to_vec() },
        Error::CallDepth {
            function: f(),
            chain: ["a".to_owned(), "b".to_owned(), f()].to_vec(),
            limit: 16,
        },
        Error::PinMismatch {
            function: f(),
            expected: FunctionHash::of(b"a"),
            found: FunctionHash::of(b"b"),
        },
        Error::SignatureMismatch {
            function: f(),
            part: "parameter 2 (`b`)".to_owned(),
            expected: "`u32`".to_owned(),
            found: "`i32`".to_owned(),
            hint: Some("write the literal with its type, as in `40u32`".into()),
        },
        Error::YieldsItems { function: f(), ran: false },
        Error::Untyped { function: f() },
        Error::ArgumentsEncode { function: f(), reason: "on purpose".to_owned() },
        Error::ArgumentsTooLarge { function: f(), limit: 10, found: 12 },
        Error::BadArguments {
            function: f(),
            reason: "2 trailing bytes after the last argument".to_owned(),
        },
        Error::ResultDecode { function: f(), wanted: "u8", reason: "2 trailing bytes".to_owned() },
        Error::PayloadDecode {
            function: f(),
            wanted: "Why".to_owned(),
            reason: "the module declares `Other`".to_owned(),
        },
        Error::NoReadyWorkers { function: f() },
        Error::Saturated { function: f(), queue: CallQueue::Workers, limit: 1000 },
        Error::Saturated { function: f(), queue: CallQueue::Overflow, limit: 1000 },
        Error::CircuitOpen {
            function: f(),
            open_for: Duration::from_millis(2500),
            last_failure: Some(trap("resize", "out of luck")),
        },
        Error::CircuitOpen { function: f(), open_for: Duration::ZERO, last_failure: None },
        Error::Timeout { function: f(), limit: Duration::from_millis(50), ran: true, cause: None },
        Error::Timeout { function: f(), limit: Duration::from_millis(50), ran: false, cause: None },
        Error::Timeout {
            function: f(),
            limit: Duration::from_millis(50),
            ran: false,
            cause: Some(trap("panics", "unreachable")),
        },
        Error::Cancelled { function: f(), ran: true },
        Error::Cancelled { function: f(), ran: false },
        Error::Stopped { function: f(), ran: true },
        Error::Stopped { function: f(), ran: false },
        Error::WorkerLost {
            function: f(),
            worker: WorkerId(1),
            reason: "the call did not return after its time limit".to_owned(),
            ran: true,
        },
        Error::Guest {
            function: f(),
            error: GuestError::new("TooSmall", "3 is too small").into(),
            payload_type: None,
        },
        Error::Trap {
            function: f(),
            reason: "panicked at src/lib.rs:7:5: it was planned".to_owned(),
            stack: "at resize".to_owned(),
        },
        Error::UncaughtException {
            function: f(),
            exception: "an exception with the payload (1048)".to_owned(),
            stack: "at resize".to_owned(),
        },
        Error::Exited { function: f(), status: 3 },
        Error::TooManyOpenFiles { function: f(), limit: 32 },
        Error::OutOfFuel { function: f(), limit: 1000 },
        Error::LogLimit { function: f(), limit: 100, used: 120 },
        Error::OutOfMemory { function: f(), requested: 131_072, limit: 65_536 },
        Error::OutOfTableElements { function: f(), requested: 1200, limit: 1000 },
        Error::StackOverflow { function: f(), limit: 524_288 },
        Error::BadReply { function: f(), reason: "its reply is empty".to_owned() },
        Error::ResultTooLarge { function: f(), limit: 10, found: 12 },
        Error::Initialisation {
            function: f(),
            reason: "wasm `unreachable` instruction executed".to_owned(),
        },
    ]
}

#[test]
fn the_text_of_every_error_is_reviewed() {
    let lines = every_error().into_iter().map(|error| {
        format!(
            "{}\n  group: {:?}, kind: {:?}, outcome unknown: {}, retry can help: {}\n  {error}{}",
            error.code(),
            error.code().group(),
            error.kind(),
            error.outcome_unknown(),
            error.retry_can_help(),
            error.remedy().map(|remedy| format!("\n  remedy: {remedy}")).unwrap_or_default(),
        )
    });
    let text = lines.collect::<Vec<_>>().join("\n\n");
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("errors", text);
    });
}

#[test]
fn the_text_of_an_error_contains_its_source() {
    let mut codes = Vec::new();
    for error in every_error() {
        if let Some(source) = std::error::Error::source(&error) {
            let (text, source) = (error.to_string(), source.to_string());
            assert!(text.contains(&source), "{text}: {source}");
            codes.push(error.code().as_str());
        }
    }
    assert_eq!(codes, ["changes_refused", "circuit_open", "timeout", "guest_error"]);
}

#[test]
fn every_code_has_an_error_in_the_snapshot() {
    let listed: HashSet<_> = every_error().iter().map(Error::code).collect();
    let missing: Vec<_> = ErrorCode::ALL.iter().filter(|code| !listed.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_parts_of_every_error_read_back_from_json() {
    fn round_trip<T>(values: impl Iterator<Item = T>)
    where
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        for value in values {
            let json = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<T>(&json).unwrap(), value, "{json}");
        }
    }
    let errors = every_error();
    round_trip(errors.iter().filter_map(Error::remedy));
    round_trip(errors.iter().map(Error::kind));
    round_trip(errors.iter().map(|error| error.code().group()));
}
