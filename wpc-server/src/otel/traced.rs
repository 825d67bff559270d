//! A backend whose calls are observed: a span and a duration for each.

use futures::{Stream, StreamExt as _};
use opentelemetry::metrics::{Histogram, Meter};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceState,
    Tracer as _,
};
use opentelemetry::{Context, KeyValue, SpanId, TraceId};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Instant;
use wpc_host::{
    Backend, CallArguments, CallId, CallOptions, Error, ErrorCode, EventSubscription,
    FinishedCallSampler, FunctionHash, FunctionHealth, FunctionInformation, PoolHealth,
    PoolMetrics, ReplyFormat, StreamOptions, StreamPart, SubmittedCall, SubmittedStream,
    TraceContext, Warming,
};

/// The upper bounds of the buckets in seconds: those of the conventions for RPC, and smaller ones for short functions.
const BOUNDS: [f64; 20] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 60.0,
];

/// The method of calls to names that are not defined. Their own names would be unbounded.
const UNKNOWN: &str = "_OTHER";

#[derive(Debug)]
pub(super) struct Traced {
    backend: Arc<dyn Backend>,
    tracer: Option<SdkTracer>,
    durations: Option<Histogram<f64>>,
}

impl Traced {
    pub(super) fn new(
        backend: Arc<dyn Backend>,
        tracer: Option<SdkTracer>,
        meter: Option<&Meter>,
    ) -> Self {
        let durations = meter.map(|meter| {
            let histogram = meter.f64_histogram("rpc.server.call.duration");
            histogram
                .with_unit("s")
                .with_description("The time from the submission of a call until its end.")
                .with_boundaries(BOUNDS.to_vec())
                .build()
        });
        Self { backend, tracer, durations }
    }

    /// Begins to observe a call, and returns the options for it: the guest's host functions continue the trace of the span.
    fn begin(&self, function: &str, options: &CallOptions) -> (Observed, CallOptions) {
        let is_known = self.backend.function_hash(function).is_some();
        let method = if is_known { function } else { UNKNOWN };
        let parent = options.get_trace_context().map(span_context);
        let span = self.tracer.as_ref().map(|tracer| {
            // An invalid parent would count as one that is not sampled.
            let parent = match parent {
                Some(parent) => Context::new().with_remote_span_context(parent),
                None => Context::new(),
            };
            let attributes = [
                KeyValue::new("rpc.system.name", "wpc"),
                KeyValue::new("rpc.method", method.to_owned()),
            ];
            let builder = tracer.span_builder(method.to_owned()).with_kind(SpanKind::Server);
            tracer.build_with_context(builder.with_attributes(attributes), &parent)
        });
        let mut options = options.clone();
        if let Some(context) = span.as_ref().and_then(|span| trace_context(span.span_context())) {
            options = options.trace_context(context);
        }
        let durations = self.durations.clone();
        let method = method.to_owned();
        (Observed { span, durations, method, began: Instant::now(), is_ended: false }, options)
    }
}

impl Backend for Traced {
    fn submit(
        &self,
        function: &str,
        arguments: CallArguments,
        format: ReplyFormat,
        options: &CallOptions,
    ) -> Result<SubmittedCall, Error> {
        let (mut observed, options) = self.begin(function, options);
        match self.backend.submit(function, arguments, format, &options) {
            Ok(call) => {
                let (id, hash) = (call.id(), call.function_hash_sha1());
                observed.accepted(id, hash);
                let fuel = call.fuel_meter();
                let call = SubmittedCall::new(id, hash, async move {
                    let reply = call.await;
                    observed.end(reply.as_ref().err());
                    reply
                });
                Ok(call.with_fuel_meter(fuel))
            }
            Err(error) => {
                observed.end(Some(&error));
                Err(error)
            }
        }
    }

    fn stream(
        &self,
        function: &str,
        arguments: CallArguments,
        options: &StreamOptions,
    ) -> Result<SubmittedStream, Error> {
        let (mut observed, call) = self.begin(function, &options.call);
        let mut options = options.clone();
        options.call = call;
        match self.backend.stream(function, arguments, &options) {
            Ok(stream) => {
                let (id, hash) = (stream.id(), stream.function_hash_sha1());
                observed.accepted(id, hash);
                let fuel = stream.fuel_meter();
                let stream = SubmittedStream::new(id, hash, parts(stream, observed));
                Ok(stream.with_fuel_meter(fuel))
            }
            Err(error) => {
                observed.end(Some(&error));
                Err(error)
            }
        }
    }

    fn function(&self, name: &str) -> Option<FunctionInformation> {
        self.backend.function(name)
    }

    fn functions(&self) -> Vec<FunctionInformation> {
        self.backend.functions()
    }

    fn visit_names(&self, visit: &mut dyn FnMut(&str) -> bool) {
        self.backend.visit_names(visit);
    }

    fn function_hash(&self, name: &str) -> Option<FunctionHash> {
        self.backend.function_hash(name)
    }

    fn definitions_version(&self) -> u64 {
        self.backend.definitions_version()
    }

    fn revive(&self, function: &str) -> Result<bool, Error> {
        self.backend.revive(function)
    }

    fn warm(&self, function: &str) -> Warming {
        self.backend.warm(function)
    }

    fn subscribe(&self, capacity: usize) -> EventSubscription {
        self.backend.subscribe(capacity)
    }

    fn sample_finished_calls(&self, sampler: Option<FinishedCallSampler>) {
        self.backend.sample_finished_calls(sampler);
    }

    fn metrics(&self) -> PoolMetrics {
        self.backend.metrics()
    }

    fn health(&self) -> PoolHealth {
        self.backend.health()
    }

    fn function_health(&self) -> Vec<FunctionHealth> {
        self.backend.function_health()
    }
}

/// The parts of a stream, whose last one ends the observation.
fn parts(
    stream: SubmittedStream,
    mut observed: Observed,
) -> impl Stream<Item = <SubmittedStream as Stream>::Item> {
    stream.inspect(move |part| match part {
        Ok(StreamPart::Reply(_)) => observed.end(None),
        Err(failed) => observed.end(Some(&failed.error)),
        Ok(_) => {}
    })
}

/// A call that is observed. If it is dropped before its end, its client has disconnected.
struct Observed {
    span: Option<Span>,
    durations: Option<Histogram<f64>>,
    method: String,
    began: Instant,
    is_ended: bool,
}

impl Observed {
    fn accepted(&mut self, id: CallId, hash: FunctionHash) {
        if let Some(span) = &mut self.span {
            span.set_attribute(KeyValue::new("wpc.call_id", u64::from(id).to_string()));
            span.set_attribute(KeyValue::new("wpc.function_hash", hash.to_string()));
        }
    }

    fn end(&mut self, error: Option<&Error>) {
        self.finish(error.map(|error| (error.code(), error.to_string())));
    }

    fn finish(&mut self, error: Option<(ErrorCode, String)>) {
        if std::mem::replace(&mut self.is_ended, true) {
            return;
        }
        let code = error.as_ref().map_or("ok", |(code, _)| code.as_str());
        let mut attributes = vec![
            KeyValue::new("rpc.system.name", "wpc"),
            KeyValue::new("rpc.method", std::mem::take(&mut self.method)),
            KeyValue::new("rpc.status_code", code),
        ];
        if error.is_some() {
            attributes.push(KeyValue::new("error.type", code));
        }
        if let Some(durations) = &self.durations {
            durations.record(self.began.elapsed().as_secs_f64(), &attributes);
        }
        if let Some(mut span) = self.span.take() {
            span.set_attributes(attributes.into_iter().skip(2));
            if let Some((_, text)) = error {
                span.set_status(Status::error(text));
            }
            span.end();
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.finish(Some((ErrorCode::Cancelled, "the client disconnected".to_owned())));
    }
}

fn span_context(trace: &TraceContext) -> SpanContext {
    let flags = if trace.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let state = trace.state().and_then(|state| TraceState::from_str(state).ok());
    SpanContext::new(
        TraceId::from(trace.trace_id()),
        SpanId::from(trace.parent_id()),
        flags,
        true,
        state.unwrap_or_default(),
    )
}

fn trace_context(span: &SpanContext) -> Option<TraceContext> {
    let (trace, parent, flags) = (span.trace_id(), span.span_id(), span.trace_flags().to_u8());
    let context: TraceContext = format!("00-{trace}-{parent}-{flags:02x}").parse().ok()?;
    let state = span.trace_state().header();
    Some(context.clone().with_state(&state).unwrap_or(context))
}
