//! Shared by the fuzz targets.

use std::time::Duration;
use wpc_host::{Options, WorkerProcedureCall};

/// A pool with one worker whose failed sandboxes restart at once, up to `restarts` times in a row.
pub fn pool(restarts: u32) -> WorkerProcedureCall {
    let wpc = WorkerProcedureCall::new(Options::default().max_restarts_per_worker(restarts).restart_base_delay(Duration::from_nanos(1)).restart_max_delay(Duration::from_nanos(1)).restart_jitter(Duration::ZERO))
    .expect("the options are valid");
    wpc.start_workers(1).expect("a worker starts");
    wpc
}

/// Bytes that encode as themselves, without a length.
pub struct Raw<'a>(pub &'a [u8]);

impl serde::Serialize for Raw<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple as _;
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}
