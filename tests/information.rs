//! Information, events and errors as data: every type can be constructed, and reads back from JSON as it was written.

use crate::support::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;
use std::time::{Duration, SystemTime};
use wpc_host::{
    BufferUsage, CallId, Capability, CompileCacheUsage, ConstantInformation, DeclaredType,
    Definable, DependencyInformation, ErrorCode, ErrorKind, EventDetails, EventError, EventSource,
    ExportInformation, FailureSeverities, FinishedCall, FunctionHash, FunctionInformation,
    FunctionParameter, FunctionSignature, Grant, HealthState, ListenerId, ModuleInformation,
    Options, OsResource, Remedy, ReplyMetadata, RequiredDependency, SandboxUsage, Schema, Setting,
    Severity, Sha256Hash, TypeInformation, WorkerEvent, WorkerHealth, WorkerId,
};

/// Checks that each value reads back, even if it was text in between.
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    values: impl IntoIterator<Item = T>,
) {
    for value in values {
        let text = serde_json::to_string(&value).unwrap();
        let read: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(read, value, "{text}");
        let read: T = serde_json::from_value(serde_json::to_value(&value).unwrap()).unwrap();
        assert_eq!(read, value, "{text}");
    }
}

/// The example of the W3C's recommendation.
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn hash() -> FunctionHash {
    FunctionHash::of(b"a module")
}

/// A signature that has a part of each kind.
fn signature() -> FunctionSignature {
    #[derive(serde::Serialize, Schema)]
    #[expect(dead_code, reason = "only its type is used")]
    enum Shape {
        Point,
        Circle(f32),
        Line((u8, u8), Option<char>),
        Polygon { corners: Vec<[i64; 2]>, name: String },
    }
    let parameters = vec![
        FunctionParameter::new("shape", Some(DeclaredType::of::<Shape>())),
        FunctionParameter::new("sizes", Some("Map<String, u16>".parse().unwrap())),
        FunctionParameter::new("opaque", None),
    ];
    let mut signature = FunctionSignature::new(parameters, Some(DeclaredType::of::<bool>()));
    signature.error = Some(DeclaredType::of::<String>());
    signature
}

/// An event of each kind.
fn every_event() -> Vec<EventDetails> {
    let function_name = || "resize".to_owned();
    let text = || "a \"text\"\n".to_owned();
    vec![
        EventDetails::WorkerSpawned { restart_attempt: 2 },
        EventDetails::WorkerReady {},
        EventDetails::WorkerHealthStateChanged { health_state: HealthState::Ready, reason: None },
        EventDetails::WorkerHealthStateChanged {
            health_state: HealthState::Degraded,
            reason: Some(text()),
        },
        EventDetails::WorkerShutdownRequested {},
        EventDetails::WorkerExited { failure_reason: None },
        EventDetails::WorkerError { message: text() },
        EventDetails::WorkerRestartScheduled {
            restart_attempt: 1,
            restart_delay: Duration::from_nanos(1_500_000_001),
        },
        EventDetails::WorkerRestartCompleted { restart_attempt: 1 },
        EventDetails::WorkerRestartFailed { restart_attempt: 1, exhausted: true },
        EventDetails::WorkerRestartExhausted { restart_attempt: 5, max_restarts_per_worker: 5 },
        EventDetails::CallExecutionFailed {
            function_name: function_name(),
            correlation_id: None,
            traceparent: None,
        },
        EventDetails::CallExecutionFailed {
            function_name: function_name(),
            correlation_id: Some(text()),
            traceparent: Some(TRACEPARENT.to_owned()),
        },
        EventDetails::SandboxFailed { function_name: function_name() },
        EventDetails::SandboxRestartScheduled {
            function_name: function_name(),
            restart_attempt: 1,
            restart_delay: Duration::MAX,
        },
        EventDetails::SandboxRecovered { function_name: function_name() },
        EventDetails::CircuitOpened { function_name: function_name(), restart_attempts: 3 },
        EventDetails::SandboxRevived { function_name: function_name() },
        EventDetails::DefinitionRefused { what: "function".to_owned(), name: function_name() },
        EventDetails::GuestLog {
            function_name: function_name(),
            level: "info".to_owned(),
            message: text(),
        },
        EventDetails::CompileCacheEntryRejected { entry: text(), reason: text() },
        EventDetails::CompileCacheWriteFailed { entry: text(), reason: text() },
        EventDetails::EventsDropped { count: u64::MAX },
        EventDetails::ListenerPanicked { listener_id: ListenerId::from(1) },
    ]
}

#[test]
fn every_event_reads_back() {
    let details = every_event();
    let mut names: Vec<_> = details.iter().map(EventDetails::event_name).collect();
    names.dedup();
    assert_eq!(names, EventDetails::NAMES, "each kind of event is in the list");
    for source in [EventSource::Worker, EventSource::Parent] {
        let mut events: Vec<_> = details
            .iter()
            .map(|details| WorkerEvent::new(7, SystemTime::now(), source, details.clone()))
            .collect();
        round_trip(events.clone());
        for event in &mut events {
            event.worker_id = Some(WorkerId::from(3));
            event.correlation_id = Some(CallId::from(u64::MAX));
            event.error = Some(EventError::new(ErrorCode::Trap, "unreachable"));
        }
        round_trip(events);
    }
    let event = WorkerEvent::new(
        7,
        SystemTime::UNIX_EPOCH,
        EventSource::Parent,
        EventDetails::WorkerSpawned { restart_attempt: 2 },
    );
    assert_eq!(
        json!(event),
        json!({
            "event_id": 7,
            "worker_id": null,
            "source": "parent",
            "severity": "info",
            "timestamp": { "secs_since_epoch": 0, "nanos_since_epoch": 0 },
            "correlation_id": null,
            "error": null,
            "event": { "name": "worker_spawned", "details": { "restart_attempt": 2 } },
        })
    );
}

#[test]
fn the_events_of_a_running_pool_read_back() {
    let wpc = stopped(Options::default());
    let events = Recorder::new(&wpc);
    wpc.start_workers(1).unwrap();
    wpc.define_worker_function("f", wat(r#"(module (func (export "f") unreachable))"#)).unwrap();
    assert_eq!(code(wpc.call::<()>("f", ())), "trap");
    wpc.stop_workers();
    loop {
        let event = events.wait_for(|_| true);
        round_trip([event.clone()]);
        if event.event_name() == "worker_exited" {
            break;
        }
    }
}

#[test]
fn every_code_and_remedy_reads_back() {
    round_trip(ErrorCode::ALL.iter().copied());
    round_trip([
        Remedy::Grant(Grant::HostFunction("lookup".to_owned())),
        Remedy::Grant(Grant::Wasi("read_directory".into())),
        Remedy::Raise(vec![Setting::Limits("fuel".into()), Setting::CallOptions("fuel".into())]),
        Remedy::WriteCall("pass `1u64`".to_owned()),
    ]);
    round_trip([
        OsResource::MemoryMaps,
        OsResource::Threads,
        OsResource::AddressSpace,
        OsResource::FileDescriptors,
    ]);
    let definable = [Definable::Function, Definable::Dependency, Definable::Constant];
    round_trip(definable.into_iter().chain([Definable::HostFunction]));
    round_trip([ErrorKind::Caller, ErrorKind::Cancelled]);
    let remedy = Remedy::Raise(vec![Setting::Limits("fuel".into())]);
    assert_eq!(json!(remedy), json!({ "raise": [{ "limits": "fuel" }] }));
    assert!(serde_json::from_value::<ErrorCode>(json!("nonsense")).is_err());
}

#[test]
fn ids_hashes_and_small_enums_read_back() {
    round_trip([WorkerId::from(0), WorkerId::from(u64::MAX)]);
    round_trip([CallId::from(1)]);
    round_trip([ListenerId::from(1)]);
    assert_eq!((u64::from(WorkerId::from(5)), &*WorkerId::from(5).to_string()), (5, "worker_5"));
    round_trip([hash()]);
    round_trip([Sha256Hash::of(b"a module")]);
    assert_eq!(json!(hash()), json!(hash().to_string()));
    assert!(serde_json::from_value::<FunctionHash>(json!("a9993e36")).is_err());
    round_trip([Capability::Random, Capability::Clock]);
    round_trip([
        HealthState::Starting,
        HealthState::Ready,
        HealthState::Degraded,
        HealthState::Restarting,
        HealthState::Stopped,
    ]);
    round_trip([Severity::Debug, Severity::Info, Severity::Warn, Severity::Error]);
    round_trip([FailureSeverities::new().trap(Severity::Warn)]);
}

#[test]
fn calls_and_usage_read_back() {
    let mut call = FinishedCall::new(CallId::from(9), "resize", hash(), WorkerId::from(1));
    round_trip([call.clone()]);
    call.error = Some(ErrorCode::OutOfFuel);
    (call.queued, call.ran) = (Duration::from_nanos(1), Duration::from_secs(2));
    call.fuel_used = Some(1_000);
    call.trace_context = Some(TRACEPARENT.parse().unwrap());
    call.correlation_id = Some("order 17".to_owned());
    round_trip([call]);
    let mut metadata = ReplyMetadata::new(hash(), WorkerId::from(1));
    round_trip([metadata]);
    metadata.fuel_used = Some(u64::MAX);
    round_trip([metadata]);
    let mut health = WorkerHealth::new(WorkerId::from(1), HealthState::Ready);
    (health.pending_call_count, health.restart_attempt) = (4, 1);
    round_trip([health]);
    let mut usage = SandboxUsage::default();
    (usage.live_instances, usage.live_memories, usage.idle_bytes) = (1, 2, 3);
    round_trip([usage]);
    let mut usage = BufferUsage::default();
    (usage.idle_buffers, usage.idle_bytes) = (1, 131_072);
    round_trip([usage]);
    let mut usage = CompileCacheUsage::new("/var/cache/wpc");
    (usage.hits, usage.misses, usage.rejected, usage.not_kept) = (1, 2, 3, 4);
    round_trip([usage]);
}

#[test]
fn information_about_definitions_and_modules_reads_back() {
    let names = || vec!["a".to_owned(), "b".to_owned()];
    let mut function = FunctionInformation::new("resize", hash());
    round_trip([function.clone()]);
    function.signature = Some(signature());
    function.installed_worker_count = 2;
    function.required_dependencies = names();
    function.required_constants = names();
    function.required_host_functions = names();
    function.required_capabilities = vec![Capability::Clock, Capability::Random];
    function.required_wasi_imports = names();
    function.documentation = Some("Resizes an image.\n".to_owned());
    round_trip([function]);
    let mut dependency = DependencyInformation::new("stemmer", hash());
    round_trip([dependency.clone()]);
    dependency.exports = names();
    round_trip([dependency]);
    round_trip([ConstantInformation::new("LIMIT")]);
    let mut module = ModuleInformation::new(b"a module");
    round_trip([module.clone()]);
    let mut export = ExportInformation::new("resize-image");
    export.signature = Some(signature());
    export.how_to_call = Some("define it alone".to_owned());
    export.documentation = Some("Resizes an image.\n".to_owned());
    let mut required = RequiredDependency::new("stemmer");
    required.imports = names();
    required.signatures = [("stem".to_owned(), vec![signature(), signature()])].into();
    module.abi_version = Some(1);
    module.refused = Some("it is too large".to_owned());
    module.remedy = Some(Remedy::Raise(vec![Setting::Limits("module_size".into())]));
    module.functions = vec![ExportInformation::new("plain"), export];
    module.constant_types = [("LIMIT".to_owned(), vec![DeclaredType::of::<u32>()])].into();
    module.required_dependencies = vec![required];
    module.host_function_signatures = [("lookup".to_owned(), vec![signature()])].into();
    let mut point = TypeInformation::new("Point", "Point { x: f64, y: f64 }");
    module.types = vec![point.clone()];
    round_trip([module.clone()]);
    point.documentation = Some("A position.".to_owned());
    point.item_documentation = [("x".to_owned(), "To the right.".to_owned())].into();
    module.types = vec![point];
    (module.maximum_memory, module.maximum_table_elements) = (Some(65_536), Some(0));
    round_trip([module]);
}

#[test]
fn information_about_every_guest_reads_back() {
    for name in ["sdk", "types", "needy", "hosted"] {
        round_trip([guest(name).inspect().unwrap()]);
    }
    let wpc = stopped(Options::default());
    round_trip(wpc.define_worker_module(guest("types")).unwrap());
}

#[test]
fn a_signature_is_structured() {
    let wpc = stopped(Options::default());
    wpc.define_worker_module(guest("sdk")).unwrap();
    let add = wpc.function_information("add").unwrap().signature.unwrap();
    let number = Some(DeclaredType::of::<i32>());
    let parameters = ["a", "b"].map(|name| FunctionParameter::new(name, number.clone()));
    assert_eq!(add, FunctionSignature::new(parameters.into(), number));
    assert_eq!(wpc.function_information("no_such_function"), None);
    assert_eq!(
        signature().to_string(),
        "(shape: Shape, sizes: Map<String, u16>, opaque: ?) -> bool"
    );
}

#[test]
fn a_type_that_nests_too_deep_does_not_deserialize() {
    let nested = |depth: usize| {
        let ty = json!({ "name": "u8", "ty": "U8" });
        let nest = |ty, _| json!({ "name": "Vec", "ty": { "Seq": ty } });
        serde_json::from_value::<DeclaredType>((0..depth).fold(ty, nest))
    };
    assert!(nested(64).is_ok());
    assert!(nested(65).is_err());
}
