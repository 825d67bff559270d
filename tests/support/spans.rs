//! A `tracing` subscriber that collects the spans of calls.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// A span of a call.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallSpan {
    pub(crate) fields: BTreeMap<&'static str, String>,
    pub(crate) is_entered: bool,
    pub(crate) is_closed: bool,
}

/// The spans of functions whose name starts with `traced`. Clones share them.
#[derive(Clone)]
pub(crate) struct Spans {
    max_level: Level,
    collected: Arc<Mutex<Vec<CallSpan>>>,
}

/// The id of all other spans.
const IGNORED: u64 = u64::MAX;

impl Spans {
    /// Collects spans up to this level.
    pub(crate) fn up_to(max_level: Level) -> Self {
        Self { max_level, collected: Arc::default() }
    }

    /// The spans of a function, in the order of their calls.
    pub(crate) fn of(&self, function: &str) -> Vec<CallSpan> {
        let spans = self.collected.lock().unwrap();
        spans.iter().filter(|span| span.fields["function"] == function).cloned().collect()
    }

    fn with(&self, id: &span::Id, change: impl FnOnce(&mut CallSpan)) {
        let mut spans = self.collected.lock().unwrap();
        let at = usize::try_from(id.into_u64()).unwrap().wrapping_sub(1);
        if let Some(span) = spans.get_mut(at) {
            change(span);
        }
    }
}

impl Visit for CallSpan {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.max_level
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let metadata = attributes.metadata();
        let mut span = CallSpan::default();
        attributes.record(&mut span);
        let is_traced =
            span.fields.get("function").is_some_and(|function| function.starts_with("traced"));
        if !is_traced || (metadata.target(), metadata.name()) != ("wpc", "call") {
            return span::Id::from_u64(IGNORED);
        }
        let mut spans = self.collected.lock().unwrap();
        spans.push(span);
        span::Id::from_u64(spans.len() as u64)
    }

    fn record(&self, id: &span::Id, values: &span::Record<'_>) {
        self.with(id, |span| values.record(span));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &span::Id) {
        self.with(id, |span| span.is_entered = true);
    }

    fn exit(&self, id: &span::Id) {
        self.with(id, |span| span.is_entered = false);
    }

    fn try_close(&self, id: span::Id) -> bool {
        self.with(&id, |span| span.is_closed = true);
        true
    }
}
