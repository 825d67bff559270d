//! The identifiers that a caller gives its call, in addition to the number that the pool gives it.

use super::trace_context::TraceContext;
use std::sync::Arc;

/// The maximum length of a correlation id in bytes.
const MAX_CORRELATION_ID: usize = 256;

/// What a caller passes with a call for logs and traces.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallContext {
    pub(crate) trace: Option<TraceContext>,
    pub(crate) correlation_id: Option<Arc<str>>,
}

impl CallContext {
    /// The caller's identifier, if one was passed.
    pub(crate) fn correlation_id(&self) -> Option<&str> {
        self.correlation_id.as_deref()
    }

    /// The text of `traceparent`, if a trace was passed.
    pub(crate) fn traceparent(&self) -> Option<String> {
        self.trace.as_ref().map(ToString::to_string)
    }

    /// What is wrong with it, if anything.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let id = self.correlation_id.as_ref()?;
        let is_valid =
            (1..=MAX_CORRELATION_ID).contains(&id.len()) && !id.contains(char::is_control);
        (!is_valid).then_some(
            "`CallOptions::correlation_id` must have 1 to 256 bytes without control characters",
        )
    }
}
