//! The usage of quotas by tokens.

use super::quota::{Bucket, Quota, Rate};
use super::refusal;
use crate::problem::Problem;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use futures::StreamExt as _;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wpc_host::{BackendReply, FuelMeter, StreamPart, SubmittedCall, SubmittedStream};

/// The usage of a token's quota. Calls of tokens without a quota have none.
#[derive(Debug)]
pub(super) struct Usage {
    epoch: Instant,
    counters: Mutex<Counters>,
}

#[derive(Debug)]
struct Counters {
    quota: Quota,
    calls: Bucket,
    fuel: Bucket,
    milliseconds: Bucket,
    running: u32,
    /// Calls that were answered before their guest had stopped, so the fuel that it used is not known yet.
    unsettled: VecDeque<Unsettled>,
}

/// A call whose fuel is added to the quota when it is known.
#[derive(Debug)]
struct Unsettled {
    fuel: FuelMeter,
    /// When the call ended.
    since: Duration,
}

/// How long the fuel of an ended call is waited for. A guest stops within milliseconds, unless a host function keeps it.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of calls whose fuel is waited for; beyond this number, the fuel of the oldest call is not
/// counted.
const MAX_UNSETTLED: usize = 1024;

impl Usage {
    pub(super) fn new(quota: Quota) -> Arc<Self> {
        let [calls, fuel, milliseconds] = [Bucket::default(); 3];
        let unsettled = VecDeque::new();
        let counters = Counters { quota, calls, fuel, milliseconds, running: 0, unsettled };
        Arc::new(Self { epoch: Instant::now(), counters: Mutex::new(counters) })
    }

    /// Changes the quota, and keeps the usage.
    pub(super) fn set_quota(&self, quota: Quota) {
        self.lock().quota = quota;
    }

    /// Begins a call, unless the quota is used up.
    fn begin(self: &Arc<Self>, name: &str) -> Result<CallPermit, Problem> {
        let now = self.epoch.elapsed();
        let mut counters = self.lock();
        counters.settle(now);
        let Quota { calls, fuel, milliseconds, concurrency } = counters.quota;
        let exceeded = |what, limit: String, wait| Err(refusal::quota(name, what, &limit, wait));
        if let Some(limit) = concurrency
            && counters.running >= limit
        {
            return exceeded("concurrency", limit.to_string(), Duration::ZERO);
        }
        // The call has used no fuel and no time yet, but the usage of earlier calls must be within the quota.
        for (what, rate, bucket, needed) in [
            ("calls", calls, &counters.calls, 1),
            ("fuel", fuel, &counters.fuel, 1),
            ("milliseconds", milliseconds, &counters.milliseconds, 1),
        ] {
            let Some(rate) = rate else { continue };
            if let Err(wait) = bucket.check(rate, needed, now) {
                return exceeded(what, rate.to_string(), wait);
            }
        }
        if let Some(rate) = calls {
            counters.calls.add(rate, 1, now);
        }
        counters.running += 1;
        drop(counters);
        let (usage, meter) = (Arc::clone(self), FuelMeter::default());
        Ok(CallPermit(Some(Running { usage, began: now, fuel: None, meter })))
    }

    fn end(&self, call: &Running) {
        let now = self.epoch.elapsed();
        let mut counters = self.lock();
        counters.running = counters.running.saturating_sub(1);
        if let Some(rate) = counters.quota.fuel {
            match call.fuel.or_else(|| call.meter.fuel_used()) {
                Some(fuel) => counters.fuel.add(rate, fuel, now),
                None => counters.settle_later(call.meter.clone(), now),
            }
        }
        if let Some(rate) = counters.quota.milliseconds {
            let elapsed = now.saturating_sub(call.began).as_millis();
            counters.milliseconds.add(rate, u64::try_from(elapsed).unwrap_or(u64::MAX), now);
        }
    }

    /// Adds the headers of the draft "RateLimit header fields for HTTP".
    pub(super) fn describe(&self, headers: &mut HeaderMap) {
        let now = self.epoch.elapsed();
        let mut counters = self.lock();
        counters.settle(now);
        let (mut policy, mut state) = (Vec::new(), Vec::new());
        let rates: [(&str, Option<Rate>, &Bucket); 3] = [
            ("calls", counters.quota.calls, &counters.calls),
            ("fuel", counters.quota.fuel, &counters.fuel),
            ("milliseconds", counters.quota.milliseconds, &counters.milliseconds),
        ];
        for (name, rate, bucket) in rates {
            let Some(rate) = rate else { continue };
            policy.push(format!("\"{name}\";q={};w={}", rate.amount, rate.window.as_secs()));
            let (remaining, reset) = (bucket.remaining(rate, now), bucket.reset(rate, now));
            state.push(format!("\"{name}\";r={remaining};t={}", whole_seconds(reset)));
        }
        if let Some(limit) = counters.quota.concurrency {
            policy.push(format!("\"concurrency\";q={limit}"));
            let remaining = limit.saturating_sub(counters.running);
            state.push(format!("\"concurrency\";r={remaining}"));
        }
        drop(counters);
        for (name, values) in [("ratelimit-policy", policy), ("ratelimit", state)] {
            if let Ok(value) = HeaderValue::try_from(values.join(", ")) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    /// Adds the fuel of ended calls that is known by now.
    fn settle(&mut self, now: Duration) {
        let Some(rate) = self.quota.fuel else { return self.unsettled.clear() };
        let fuel = &mut self.fuel;
        self.unsettled.retain(|call| match call.fuel.fuel_used() {
            Some(used) => {
                fuel.add(rate, used, now);
                false
            }
            None => now.saturating_sub(call.since) < SETTLE_TIMEOUT,
        });
    }

    fn settle_later(&mut self, fuel: FuelMeter, now: Duration) {
        if fuel.is_unknown() {
            return;
        }
        if self.unsettled.len() >= MAX_UNSETTLED {
            self.unsettled.pop_front();
        }
        self.unsettled.push_back(Unsettled { fuel, since: now });
    }
}

/// Seconds, rounded up.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// The permit of a call. Keep it until the call ends: when it is dropped, the usage of the call is added to that of the
/// token. Without a quota it costs nothing.
#[derive(Debug)]
#[must_use = "keep it until the call ends"]
pub(crate) struct CallPermit(Option<Running>);

#[derive(Debug)]
struct Running {
    usage: Arc<Usage>,
    began: Duration,
    /// The fuel that it used, from the metadata of its reply.
    fuel: Option<u64>,
    /// Reads the fuel of a call without a reply.
    meter: FuelMeter,
}

impl CallPermit {
    /// A call of a principal without a quota, or with this usage.
    pub(super) fn begin(usage: Option<&Arc<Usage>>, name: &str) -> Result<Self, Problem> {
        usage.map_or(Ok(Self(None)), |usage| usage.begin(name))
    }

    /// The call, which counts until it ends or is dropped.
    pub(crate) fn count(self, call: SubmittedCall) -> SubmittedCall {
        let Some(mut running) = self.0 else { return call };
        let meter = call.fuel_meter();
        running.meter = meter.clone();
        let call = SubmittedCall::new(call.id(), call.function_hash_sha1(), async move {
            let reply = call.await;
            running.used(reply.as_ref().ok());
            reply
        });
        call.with_fuel_meter(meter)
    }

    /// The stream, which counts until it ends or is dropped.
    pub(crate) fn count_stream(self, stream: SubmittedStream) -> SubmittedStream {
        let Some(mut running) = self.0 else { return stream };
        let (id, hash, meter) = (stream.id(), stream.function_hash_sha1(), stream.fuel_meter());
        running.meter = meter.clone();
        let parts = stream.inspect(move |part| {
            if let Ok(StreamPart::Reply(reply)) = part {
                running.used(Some(reply));
            }
        });
        SubmittedStream::new(id, hash, parts).with_fuel_meter(meter)
    }
}

impl Running {
    /// Keeps the fuel that a call used. A method, so that closures capture the whole permit instead of one field.
    fn used(&mut self, reply: Option<&BackendReply>) {
        // A reply without fuel is that of a function that is not metered.
        self.fuel = reply.map(|reply| reply.metadata.fuel_used.unwrap_or_default());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.usage.end(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(limits: &[&str]) -> Arc<Usage> {
        let mut quota = Quota::default();
        for limit in limits {
            quota.set(limit).unwrap();
        }
        Usage::new(quota)
    }

    fn refused(usage: &Arc<Usage>) -> u16 {
        usage.begin("tenant").unwrap_err().details().status
    }

    #[test]
    fn calls_beyond_the_quota_are_refused() {
        let usage = usage(&["calls=2/d"]);
        drop(usage.begin("tenant").unwrap());
        drop(usage.begin("tenant").unwrap());
        assert_eq!(refused(&usage), 429);
    }

    #[test]
    fn concurrent_calls_beyond_the_quota_are_refused() {
        let usage = usage(&["concurrency=1"]);
        let first = usage.begin("tenant").unwrap();
        assert_eq!(refused(&usage), 429);
        drop(first);
        drop(usage.begin("tenant").unwrap());
    }

    #[test]
    fn fuel_counts_when_a_call_ends() {
        let usage = usage(&["fuel=1000/d"]);
        let mut first = usage.begin("tenant").unwrap();
        let second = usage.begin("tenant").unwrap();
        first.0.as_mut().unwrap().fuel = Some(1500);
        drop(first);
        assert_eq!(refused(&usage), 429);
        drop(second);
    }

    #[test]
    fn a_changed_quota_keeps_what_was_used() {
        let usage = usage(&["calls=1/d"]);
        drop(usage.begin("tenant").unwrap());
        let mut quota = Quota::default();
        quota.set("calls=2/d").unwrap();
        usage.set_quota(quota);
        drop(usage.begin("tenant").unwrap());
        assert_eq!(refused(&usage), 429);
    }

    #[test]
    fn headers_report_the_remaining_quota() {
        let usage = usage(&["calls=10/d", "concurrency=4"]);
        let call = usage.begin("tenant").unwrap();
        let mut headers = HeaderMap::new();
        usage.describe(&mut headers);
        drop(call);
        assert_eq!(headers["ratelimit-policy"], "\"calls\";q=10;w=86400, \"concurrency\";q=4");
        let state = headers["ratelimit"].to_str().unwrap();
        let state = state.strip_prefix("\"calls\";r=9;t=").unwrap();
        // A second may pass before the headers are made.
        let reset = state.strip_suffix(", \"concurrency\";r=3").unwrap();
        let reset: u64 = reset.parse().unwrap();
        assert!((8_540..=8_640).contains(&reset), "{reset}");
    }
}
