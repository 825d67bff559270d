//! waPC: a host on the caller's thread, as documented. Its pool is published for another major version of the host
//! only, so it is not measured.

use crate::contestant::{
    Contestant, Load, Work, as_bytes, check_echo, check_sum_bytes, payload, timed,
};
use anyhow::{Result, ensure};
use std::time::Duration;
use wapc::WapcHost;
use wasmtime_provider::{WasmtimeEngineProviderBuilder, WasmtimeEngineProviderPre};

/// Compiles and links once, the documented way to create many hosts of one module.
pub(crate) fn compile(guest: &[u8]) -> Result<WasmtimeEngineProviderPre> {
    Ok(WasmtimeEngineProviderBuilder::new().module_bytes(guest).build_pre()?)
}

/// A host without deadlines, which are off by default and slow down waPC.
pub(crate) struct Local {
    compiled: WasmtimeEngineProviderPre,
    host: WapcHost,
}

impl Local {
    pub(crate) fn start(compiled: &WasmtimeEngineProviderPre) -> Result<Self> {
        let compiled = compiled.clone();
        let host = host(&compiled)?;
        Ok(Self { compiled, host })
    }
}

fn host(compiled: &WasmtimeEngineProviderPre) -> Result<WapcHost> {
    Ok(WapcHost::new(Box::new(compiled.rehydrate(None)?), None)?)
}

fn sum(host: &WapcHost, number: i32) -> Result<()> {
    check_sum_bytes(number, &host.call("add", &as_bytes(number))?)
}

impl Contestant for Local {
    fn series(&self) -> &'static str {
        "waPC, caller's thread"
    }

    fn run(&mut self, load: Load) -> Result<Duration> {
        match load.work {
            Work::Add => timed(|| load.numbers().try_for_each(|number| sum(&self.host, number))),
            Work::Echo(len) => {
                let bytes = payload(len);
                timed(|| {
                    (0..load.calls)
                        .try_for_each(|_| check_echo(&bytes, &self.host.call("echo", &bytes)?))
                })
            }
            Work::Fresh => {
                timed(|| load.numbers().try_for_each(|number| sum(&host(&self.compiled)?, number)))
            }
            // waPC keeps using the trapped instance, so its user has to replace it.
            Work::AfterTrap => load
                .numbers()
                .map(|number| {
                    ensure!(self.host.call("traps", &[]).is_err(), "the call should trap");
                    timed(|| {
                        self.host = host(&self.compiled)?;
                        sum(&self.host, number)
                    })
                })
                .sum(),
        }
    }
}
