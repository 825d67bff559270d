//! Calls WebAssembly functions on many machines over NATS.
