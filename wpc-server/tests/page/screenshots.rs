//! The images of the documentation: `WPC_SCREENSHOTS=docs/page cargo test --test page -- screenshots` writes them.

use crate::browser::{Browser, key};
use crate::clustered::{Clustered, node};
use crate::nodes::Accepting;
use crate::served::{Served, pool};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wpc_host::{
    Backend, CallArguments, CallOptions, ClusterInformation, NodeState, ReplyFormat, TraceContext,
    WorkerProcedureCall,
};
use wpc_server::Application;

/// The largest image, in bytes.
const MAX_SIZE: usize = 150_000;

/// Clients that call functions until it is dropped.
struct Load(Arc<AtomicBool>);

impl Load {
    fn start(wpc: &WorkerProcedureCall) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let text =
            "# Prices\n\nThe *first* line, and a second one for ada@example.org.\n".repeat(20);
        let calls = [
            ("add", json!([40, 2]), 300),
            ("markdown_to_html", json!([text]), 90),
            ("redact", json!([text]), 60),
            ("order", json!([[{ "item": "apple", "count": 3 }], { "apple": 25 }]), 25),
            ("first_bytes", json!([[1, 2, 3], 9]), 2),
            ("panics", json!(["a test"]), 1),
        ];
        for (name, arguments, per_second) in calls {
            let (wpc, stop) = (wpc.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    call(&wpc, name, &arguments);
                    std::thread::sleep(Duration::from_micros(1_000_000 / per_second));
                }
            });
        }
        Self(stop)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn call(wpc: &WorkerProcedureCall, name: &str, arguments: &Value) {
    let trace: TraceContext =
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    let options = CallOptions::new().trace_context(trace);
    let arguments = CallArguments::Positional(arguments.as_array().unwrap().clone());
    // Some functions fail, which is what the page shows.
    if let Ok(call) = Backend::submit(wpc, name, arguments, ReplyFormat::Json, &options) {
        drop(pollster::block_on(call));
    }
}

fn busy_pool() -> WorkerProcedureCall {
    let wpc = pool(&[
        ("sdk", &["add", "first_bytes", "order", "panics"]),
        ("streams", &["numbers"]),
        ("markdown", &["markdown_to_html"]),
        ("redactor", &["redact"]),
        ("thumbnail", &["thumbnail"]),
    ]);
    wpc.define_worker_constant("REDACT_PATTERNS", &vec!["[a-z]+@[a-z.]+"]).unwrap();
    wpc
}

fn save(browser: &Browser, name: &str) {
    let image = browser.screenshot();
    if let Some(folder) = std::env::var_os("WPC_SCREENSHOTS").map(PathBuf::from) {
        std::fs::write(folder.join(format!("{name}.png")), &image).unwrap();
    }
    assert!(image.len() <= MAX_SIZE, "{name}: {} bytes", image.len());
}

#[test]
fn screenshots() {
    let Some(browser) = Browser::with_window(1280, 840) else { return };
    let wpc = busy_pool();
    let served = Served::start(&wpc);
    let load = Load::start(&wpc);
    browser.prefer("light");
    browser.open(&served.url());
    browser.wait_for(
        "a history",
        "return document.querySelector('#chart-line').getAttribute('d')?.split('L').length > 20",
    );
    save(&browser, "light");
    browser.run("[...document.querySelectorAll('.name')].find((name) => name.textContent === 'order').click()");
    browser.wait_for(
        "the form",
        "return document.querySelector('[aria-label=\"Add to orders\"]') !== null",
    );
    browser.run("document.querySelector('[aria-label=\"Add to orders\"]').click()");
    browser.press(&format!("apple{}3", key::TAB));
    browser.run("document.querySelector('[aria-label=\"Add to prices\"]').click()");
    browser.press(&format!("apple{}25{}", key::TAB, key::ENTER));
    browser.run("document.querySelector('#call-submit').click()");
    browser.wait_for_text("#call-output pre", "75");
    browser.run("document.querySelector('#call-output').scrollIntoView({ block: 'end' })");
    save(&browser, "call");
    browser.press(key::ESCAPE);
    browser.prefer("dark");
    browser.wait_for("dark", "return document.documentElement.dataset.theme === 'dark'");
    save(&browser, "dark");
    served.stop();
    browser.wait_for_text("#connection-text", "Server stopped");
    save(&browser, "stopped");
    drop(load);
}

/// Three nodes and one that is lost, as a server of one of them knows them.
fn four_nodes() -> ClusterInformation {
    let mut behind = node("rack2-a", NodeState::Behind, 41, 22);
    behind.problem = "revision 42: the module of \"thumbnail\" is larger than the limit".to_owned();
    let mut lost = node("rack2-b", NodeState::Lost, 42, 0);
    lost.last_heartbeat = Duration::from_secs(95);
    let mut cluster = ClusterInformation::default();
    (cluster.node, cluster.is_connected) = (Some("rack1-a".to_owned()), true);
    cluster.active_revision = Some(42);
    cluster.nodes =
        vec![node("rack1-a", NodeState::Ready, 42, 9), node("rack1-b", NodeState::Ready, 42, 61)];
    cluster.nodes.extend([behind, lost]);
    cluster
}

#[test]
fn screenshots_of_a_cluster() {
    let Some(browser) = Browser::with_window(1280, 840) else { return };
    let wpc = busy_pool();
    let backend = Clustered::new(&wpc, four_nodes());
    let application = Application::new(Arc::new(backend.clone()));
    let served = Served::at(([127, 0, 0, 1], 0).into(), application);
    let load = Load::start(&wpc);
    browser.prefer("light");
    browser.open(&served.url());
    browser.wait_for_text("#nodes-rows", "rack2-b");
    let accepting = Accepting::start(&backend);
    browser.wait_for(
        "accepted calls",
        "return parseFloat(document.querySelector('#nodes-rows td[data-label=\"Accepted/s\"]').textContent) > 0 \
         && document.querySelector('#chart-line').getAttribute('d')?.split('L').length > 8",
    );
    save(&browser, "nodes");
    drop((load, accepting));
}
