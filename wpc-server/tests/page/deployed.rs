//! Deployments on the page.

use crate::browser::Browser;
use crate::served::Served;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use wpc_deploy::{Policy, Setup};
use wpc_host::{Sha256Hash, WorkerProcedureCall};
use wpc_server::{Application, Deployments, Store, Tokens};

/// A server whose deployments and tokens are in this folder.
pub(crate) fn serve(data: &Path) -> (WorkerProcedureCall, Served, Tokens) {
    let setup = Setup::new().policy(Policy::nothing());
    let store = Store::open(data).unwrap();
    let tokens = Tokens::of_store(store.clone()).unwrap();
    let deployments = Deployments::open(store, setup, Some(data.join("cache"))).unwrap();
    let pool = deployments.pool().clone();
    pool.start_workers(1).unwrap();
    let application = Application::builder(Arc::new(pool.clone())).deployments(deployments);
    let application = application.tokens(tokens.clone()).build();
    let served = Served::at(([127, 0, 0, 1], 0).into(), application);
    (pool, served, tokens)
}

fn post(address: SocketAddr, path: &str, body: &[u8]) -> Value {
    let answer = ureq::post(format!("http://{address}{path}")).send(body);
    let text = answer.unwrap().body_mut().read_to_string().unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Deploys a function that returns this number.
pub(crate) fn deploy(address: SocketAddr, number: u32, active: Option<u64>) -> u64 {
    let module = format!("(module (func (export \"version\") (result i32) i32.const {number}))");
    let module = wat::parse_str(module).unwrap();
    post(address, "/v1/modules", &module);
    let file = Sha256Hash::of(&module);
    let note = format!("returns {number}");
    let manifest = format!("[functions.version]\nfile = \"{file}.wasm\"");
    let revision = json!({ "manifest": manifest, "note": note });
    let answer = post_json(address, "/v1/revisions", &revision);
    let revision = answer["revision"]["number"].as_u64().unwrap();
    post_json(address, "/v1/active", &json!({ "revision": revision, "expected": active }));
    revision
}

fn post_json(address: SocketAddr, path: &str, body: &Value) -> Value {
    let request = ureq::post(format!("http://{address}{path}"));
    let answer = request.header("content-type", "application/json").send(body.to_string());
    let text = answer.unwrap().body_mut().read_to_string().unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_deployment_is_compared_and_rolled_back() {
    let Some(browser) = Browser::start() else { return };
    let data = tempfile::tempdir().unwrap();
    let (wpc, served, _) = serve(data.path());
    let first = deploy(served.address, 1, None);
    browser.open(&served.url());
    browser.wait_for_text("#revisions", "returns 1");
    // A deployment of another client appears by itself.
    deploy(served.address, 2, Some(first));
    browser.wait_for_text("#revisions", "returns 2");
    browser.wait_for_text("#revisions li:first-child", "Revision 2active");
    browser.run("document.querySelector('[aria-label=\"Changes in revision 2\"]').click()");
    browser.wait_for_text("#changes-2", "changed");
    browser.run("document.querySelector('[aria-label=\"Roll back to revision 1\"]').click()");
    browser.wait_for_text("#confirm-text", "Compared with revision 2: changed");
    assert_eq!(wpc.call::<i32>("version", ()).unwrap(), 2, "it asks first");
    browser.run("document.querySelector('#confirm-yes').click()");
    browser.wait_for_text("#revisions li:first-child", "Revision 3active");
    assert_eq!(wpc.call::<i32>("version", ()).unwrap(), 1);
    assert_eq!(browser.console(), [""; 0]);
}
