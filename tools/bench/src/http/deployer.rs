//! A client that deploys functions to a server with a data folder.

use super::{Load, Request};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::net::SocketAddr;
use wpc_host::Sha256Hash;

/// A connection over which functions are deployed.
pub(crate) struct Deployer {
    load: Load,
    /// The guest of the SDK, whose `add` is called.
    sdk: Vec<u8>,
    active: Option<u64>,
}

impl Deployer {
    /// Connects to a server on which nothing is deployed yet.
    pub(crate) fn connect(address: SocketAddr, sdk: &[u8]) -> Result<Self> {
        let mut deployer =
            Self { load: Load::connect(address, 1)?, sdk: sdk.to_vec(), active: None };
        deployer.upload(sdk)?;
        Ok(deployer)
    }

    /// Deploys `add` and `version`, which returns this number: uploads the module, registers a revision and activates it.
    pub(crate) fn deploy(&mut self, number: u32) -> Result<()> {
        let module = wat::parse_str(format!(
            "(module (func (export \"version\") (result i32) i32.const {number}))"
        ))?;
        self.upload(&module)?;
        let (sdk, version) = (Sha256Hash::of(&self.sdk), Sha256Hash::of(&module));
        let manifest = format!(
            "[functions.add]\nfile = \"{sdk}.wasm\"\n[functions.version]\nfile = \"{version}.wasm\"\n"
        );
        let registered = self.post("/v1/revisions", &json!({ "manifest": manifest }))?;
        let revision = registered["revision"]["number"].as_u64().context("no revision")?;
        self.post("/v1/active", &json!({ "revision": revision, "expected": self.active }))?;
        self.active = Some(revision);
        Ok(())
    }

    /// Activates the content of the revision that was active before.
    pub(crate) fn roll_back(&mut self) -> Result<()> {
        self.post("/v1/rollback", &json!({})).map(drop)
    }

    fn upload(&mut self, module: &[u8]) -> Result<()> {
        let upload = Request::with_body("/v1/modules", "application/wasm", module);
        self.load.ask(&upload).map(drop)
    }

    fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.load.ask(&Request::post(path, &body.to_string()))?;
        Ok(serde_json::from_slice(&answer)?)
    }
}
