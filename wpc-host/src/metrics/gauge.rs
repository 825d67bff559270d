//! How many sandboxes a definition has, and how much memory they use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The sandboxes of a definition on all workers. Several threads add and subtract.
#[derive(Debug, Default)]
pub(crate) struct SandboxGauge {
    live: AtomicU64,
    memory: AtomicU64,
}

impl SandboxGauge {
    /// The number of sandboxes.
    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// The bytes of their linear memories.
    pub(crate) fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }
}

/// One sandbox's share of a gauge, which its drop subtracts.
#[derive(Debug)]
pub(crate) struct Share {
    gauge: Arc<SandboxGauge>,
    memory: u64,
}

impl Share {
    pub(crate) fn new(gauge: &Arc<SandboxGauge>) -> Self {
        gauge.live.fetch_add(1, Ordering::Relaxed);
        Self { gauge: Arc::clone(gauge), memory: 0 }
    }

    /// Sets the sandbox's memory.
    pub(crate) fn set_memory(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.gauge.memory.fetch_add(bytes.wrapping_sub(self.memory), Ordering::Relaxed);
        self.memory = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.gauge.memory.fetch_sub(self.memory, Ordering::Relaxed);
        self.gauge.live.fetch_sub(1, Ordering::Relaxed);
    }
}
