//! What the page shows when there is nothing to show.

use crate::browser::Browser;
use crate::served::{Served, usual_pool};
use std::sync::Arc;
use wpc_host::{Options, WorkerProcedureCall};
use wpc_server::Application;

#[test]
fn a_server_without_functions_explains_what_to_type() {
    let Some(browser) = Browser::start() else { return };
    let wpc = WorkerProcedureCall::new(Options::default()).unwrap();
    let served = Served::start(&wpc);
    browser.open(&served.url());
    browser.wait_for_text("#functions-empty", "wpc serve");
    assert_eq!(browser.text("#stat-stage"), "stopped");
}

#[test]
fn a_stopped_server_is_reported_and_reconnected_to() {
    let Some(browser) = Browser::start() else { return };
    let wpc = usual_pool();
    let served = Served::start(&wpc);
    let address = served.address;
    browser.open(&served.url());
    browser.wait_for_text("#functions-rows", "echo_bytes");
    // The open stream of the page does not delay the stop.
    served.stop();
    browser.wait_for_text("#connection-text", "Server stopped");
    browser.wait_for_text("#banner", "The figures below are from");
    assert_eq!(
        browser.run("return document.querySelector('#data').classList.contains('stale')"),
        true
    );
    assert_eq!(browser.text("#functions-count"), "8 functions", "the last figures stay");
    wpc.undefine_worker_function("echo_bytes");
    let served = Served::at(address, Application::new(Arc::new(wpc)));
    browser.wait_for_text("#connection-text", "Live");
    browser.wait_for_text("#functions-count", "7 functions");
    assert_eq!(browser.run("return document.querySelector('#banner').hidden"), true);
    drop(served);
}
