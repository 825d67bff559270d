//! The settings of the library as keys of a manifest.

use bytesize::ByteSize;
use humantime_serde::re::humantime;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::time::Duration;
use wpc_host::{FailureSeverities, Limits, Options};

macro_rules! durations_and_sizes {
    ($(#[$meta:meta])* $name:ident for $target:ident {
        durations { $($duration:ident),* $(,)? }
        optional_durations { $($optional:ident),* $(,)? }
        sizes { $($size:ident),* $(,)? }
        optional_sizes { $($optional_size:ident),* $(,)? }
        plain { $($plain:ident: $type:ty),* $(,)? }
        optional { $($optional_plain:ident: $optional_type:ty),* $(,)? }
        beside { $($beside:ident: $beside_type:ty),* $(,)? }
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $name {
            $(#[serde(deserialize_with = "duration")] $duration: Option<Duration>,)*
            $(#[serde(deserialize_with = "duration")] $optional: Option<Duration>,)*
            $($size: Option<ByteSize>,)*
            $($optional_size: Option<ByteSize>,)*
            $($plain: Option<$type>,)*
            $($optional_plain: Option<$optional_type>,)*
            $(pub(crate) $beside: Option<$beside_type>,)*
        }

        impl $name {
            /// The configured values, and defaults for the rest.
            pub(crate) fn chosen(&self) -> $target {
                let mut chosen = $target::default();
                $(set(&mut chosen.$duration, self.$duration);)*
                $(set(&mut chosen.$optional, self.$optional.map(Some));)*
                $(set(&mut chosen.$size, self.$size.map(bytes));)*
                $(set(&mut chosen.$optional_size, self.$optional_size.map(bytes).map(Some));)*
                $(set(&mut chosen.$plain, self.$plain);)*
                $(set(&mut chosen.$optional_plain, self.$optional_plain.map(Some));)*
                chosen
            }
        }
    };
}

/// Reads a duration with its unit.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    struct OfText;

    impl Visitor<'_> for OfText {
        type Value = Option<Duration>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration, such as \"500ms\" or \"10s\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Option<Duration>, E> {
            humantime::parse_duration(text)
                .map(Some)
                .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_str(OfText)
}

fn set<T>(field: &mut T, configured: Option<T>) {
    if let Some(value) = configured {
        *field = value;
    }
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

durations_and_sizes! {
    /// The `[pool]` table: the library's options by their names, and the number of workers.
    Pool for Options {
        durations {
            call_timeout, start_timeout, stop_timeout, unresponsive_worker_grace,
            restart_base_delay, restart_max_delay, restart_jitter, circuit_breaker_cool_down,
        }
        optional_durations { time_slice }
        sizes { max_wasm_stack }
        optional_sizes {}
        plain {
            restart_on_failure: bool, max_restarts_per_worker: u32,
            max_pending_calls_per_worker: usize, max_waiting_calls: usize, max_live_instances: u32,
            max_helper_threads: usize, max_waiting_events: usize, failure_severities: FailureSeverities,
        }
        optional { max_suspended_instances: u32, restart_jitter_seed: u64 }
        beside { workers: usize }
    }
}

durations_and_sizes! {
    /// The `limits` of an entry: the library's limits by their names.
    EntryLimits for Limits {
        durations { compile_time }
        optional_durations { timeout, time_slice }
        sizes { memory, arguments, result, module_size, log }
        optional_sizes { stack, recycle_past_memory }
        plain {
            table_elements: usize, instances: usize, open_files: usize,
            max_concurrent_calls: usize,
        }
        optional { fuel: u64, recycle_after_calls: u64 }
        beside {}
    }
}

impl Pool {
    /// Raises `max_waiting_calls` to at least `calls`.
    pub(super) fn raise_max_waiting_calls(&mut self, calls: usize) {
        let configured = self.max_waiting_calls.unwrap_or(Options::default().max_waiting_calls);
        self.max_waiting_calls = Some(configured.max(calls));
    }
}
