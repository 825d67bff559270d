//! A server with a data folder, and a client that deploys.

use crate::harness::{Answer, Running};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use wpc_deploy::{Policy, Setup};
use wpc_host::{Sha256Hash, WorkerProcedureCall};
use wpc_server::{Application, ConnectionLimits, Deployments, Store};

/// A module whose function `version` returns a number.
pub(crate) fn version(number: u32) -> Vec<u8> {
    wat::parse_str(format!("(module (func (export \"version\") (result i32) i32.const {number}))"))
        .unwrap()
}

pub(crate) fn file_of(module: &[u8]) -> String {
    format!("{}.wasm", Sha256Hash::of(module))
}

/// A manifest with functions of these names, each of which returns its number.
pub(crate) fn manifest(functions: &[(&str, u32)]) -> String {
    functions.iter().fold(String::new(), |mut text, (name, number)| {
        let file = file_of(&version(*number));
        let _ = writeln!(text, "[functions.{name}]\nfile = \"{file}\"\nexport = \"version\"");
        text
    })
}

/// A server whose deployments are in this folder. It allows no folder and no secret.
pub(crate) fn serve(data: &Path) -> Running {
    serve_with(data, Policy::nothing())
}

/// The same, with as many revisions as are kept.
pub(crate) fn serve_keeping(data: &Path, revisions: usize) -> (Running, Deployments) {
    let (server, deployments) = open(data, Policy::nothing());
    deployments.keep_revisions(revisions.try_into().unwrap()).unwrap();
    (server, deployments)
}

pub(crate) fn serve_with(data: &Path, policy: Policy) -> Running {
    open(data, policy).0
}

/// The same, with other bounds on connections.
pub(crate) fn serve_limited(data: &Path, set: impl FnOnce(&mut ConnectionLimits)) -> Running {
    let mut limits = ConnectionLimits::default();
    set(&mut limits);
    let (pool, application, _) = application(data, Policy::nothing());
    Running::bound(pool, application, |server| server.limits(limits))
}

fn open(data: &Path, policy: Policy) -> (Running, Deployments) {
    let (pool, application, deployments) = application(data, policy);
    (Running::serving(pool, application), deployments)
}

fn application(data: &Path, policy: Policy) -> (WorkerProcedureCall, Application, Deployments) {
    let store = Store::open(data).unwrap();
    let cache = Some(data.join("cache"));
    let deployments = Deployments::open(store, Setup::new().policy(policy), cache).unwrap();
    let pool = deployments.pool().clone();
    pool.start_workers(2).unwrap();
    let application = Application::builder(Arc::new(pool.clone())).deployments(deployments.clone());
    (pool, application.build(), deployments)
}

impl Running {
    pub(crate) fn post_json(&self, path: &str, body: &Value) -> Answer {
        let body = serde_json::to_vec(body).unwrap();
        self.post(path, &[("content-type", "application/json")], &body)
    }

    pub(crate) fn upload(&self, module: &[u8]) -> Answer {
        self.post("/v1/modules", &[("content-type", "application/wasm")], module)
    }

    /// Uploads the modules of these functions, and registers their manifest.
    pub(crate) fn register(&self, functions: &[(&str, u32)]) -> Answer {
        for (_, number) in functions {
            let answer = self.upload(&version(*number));
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        }
        self.post_json("/v1/revisions", &json!({ "manifest": manifest(functions) }))
    }

    pub(crate) fn activate(&self, revision: u64, expected: Option<u64>) -> Answer {
        self.post_json("/v1/active", &json!({ "revision": revision, "expected": expected }))
    }

    /// Registers and activates these functions. Returns the number of the revision.
    pub(crate) fn deploy(&self, functions: &[(&str, u32)]) -> u64 {
        let answer = self.register(functions);
        let number = answer.json()["revision"]["number"].as_u64();
        let number = number.unwrap_or_else(|| panic!("{answer:?}"));
        let active = self.get("/v1/deployment", &[]).json()["active"].as_u64();
        let answer = self.activate(number, active);
        assert_eq!(answer.status, 200, "{answer:?}");
        number
    }

    /// What a function returns.
    pub(crate) fn version_of(&self, function: &str) -> Value {
        self.call(function, &json!([])).json()
    }
}
