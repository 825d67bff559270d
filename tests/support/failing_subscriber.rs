//! A global `tracing` subscriber that panics or blocks when a guest logs `panic the host` or `block the host`. It
//! stands for foreign code that runs on a worker's thread. It also collects the spans of calls.

use super::spans::Spans;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, LazyLock, Mutex, Once};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

/// Whether the subscriber panics when a worker reports that it is ready.
pub(crate) static PANICS_AT_START: AtomicBool = AtomicBool::new(false);
static SPANS: LazyLock<Spans> = LazyLock::new(|| Spans::up_to(Level::TRACE));
static BLOCKED: Mutex<bool> = Mutex::new(true);
static UNBLOCKED: Condvar = Condvar::new();
static HAS_BLOCKED: AtomicBool = AtomicBool::new(false);

pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(FailingSubscriber).unwrap());
}

/// The spans of calls since the subscriber was installed.
pub(crate) fn spans() -> Spans {
    SPANS.clone()
}

/// The subscriber blocks when the supervisor first reports this function.
pub(crate) const BLOCKING_FUNCTION: &str = "block_the_report";
static REPORT: Mutex<Report> = Mutex::new(Report::Awaited);
static REPORT_CHANGED: Condvar = Condvar::new();

#[derive(Debug, PartialEq)]
enum Report {
    Awaited,
    Blocked,
    Released,
}

pub(crate) fn wait_for_blocked_report() {
    let report = REPORT.lock().unwrap();
    let awaited = |report: &mut Report| *report == Report::Awaited;
    let (report, _) =
        REPORT_CHANGED.wait_timeout_while(report, super::TEST_TIMEOUT, awaited).unwrap();
    assert_eq!(*report, Report::Blocked);
}

pub(crate) fn release_report() {
    *REPORT.lock().unwrap() = Report::Released;
    REPORT_CHANGED.notify_all();
}

fn block_report() {
    let mut report = REPORT.lock().unwrap();
    if *report == Report::Awaited {
        *report = Report::Blocked;
        REPORT_CHANGED.notify_all();
    }
    drop(REPORT_CHANGED.wait_while(report, |report| *report == Report::Blocked));
}

/// Whether this is the supervisor's thread, or one that runs embedder code on its behalf.
fn reports_for_supervisor() -> bool {
    let thread = std::thread::current();
    matches!(thread.name(), Some("wpc-supervisor" | "wpc-offload"))
}

/// Whether a line of a guest has blocked a worker's thread.
pub(crate) fn has_blocked() -> bool {
    HAS_BLOCKED.load(Ordering::SeqCst)
}

/// Releases every blocked thread, permanently.
pub(crate) fn unblock() {
    *BLOCKED.lock().unwrap() = false;
    UNBLOCKED.notify_all();
}

struct FailingSubscriber;

struct FieldVisitor;

impl Visit for FieldVisitor {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        if text.starts_with("WorkerReady") && PANICS_AT_START.load(Ordering::SeqCst) {
            panic!("intended by a test: the subscriber panics when a worker starts");
        }
        if text.contains(BLOCKING_FUNCTION) && reports_for_supervisor() {
            block_report();
        }
        if field.name() != "details" || !text.starts_with("GuestLog") {
            return;
        }
        if text.contains("panic the host") {
            panic!("intended by a test: the subscriber panics on a log line");
        }
        if text.contains("block the host") {
            let blocked = BLOCKED.lock().unwrap();
            HAS_BLOCKED.store(true, Ordering::SeqCst);
            drop(UNBLOCKED.wait_while(blocked, |blocked| *blocked));
        }
    }
}

impl Subscriber for FailingSubscriber {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        SPANS.new_span(attributes)
    }
    fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        SPANS.record(id, values);
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut FieldVisitor);
    }
    fn enter(&self, id: &span::Id) {
        SPANS.enter(id);
    }
    fn exit(&self, id: &span::Id) {
        SPANS.exit(id);
    }
    fn try_close(&self, id: span::Id) -> bool {
        SPANS.try_close(id)
    }
}

/// A function `f` that logs this line and returns `()`.
pub(crate) fn logs(line: &str) -> wpc_host::WasmModule {
    super::contract(&format!(
        r#"(data (i32.const 16) "{line}")
        (func (export "f") (param i32 i32) (result i64)
            (call $log (i32.const 2) (i32.const 16) (i32.const {}))
            i64.const 1)"#,
        line.len()
    ))
}
