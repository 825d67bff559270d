//! The trace context of a call: the headers `traceparent` and `tracestate` of W3C Trace Context.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The length of `traceparent` in version 00.
const LEN: usize = 55;

/// The maximum length of `tracestate` in bytes, and its maximum number of members.
const MAX_STATE: usize = 512;
const MAX_MEMBERS: usize = 32;

/// Bit 0 of the flags: the caller may have recorded the trace.
const SAMPLED: u8 = 1;

/// A trace to which a call belongs, as [W3C Trace Context](https://www.w3.org/TR/trace-context/) defines it: the header
/// `traceparent`, and optionally `tracestate`. Cheap to clone.
///
/// ```
/// use wpc_host::TraceContext;
///
/// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context: TraceContext = text.parse()?;
/// assert_eq!(context.to_string(), text);
/// assert!(context.is_sampled());
/// let context = context.with_state("vendor=value")?;
/// assert_eq!(context.state(), Some("vendor=value"));
/// # Ok::<(), wpc_host::InvalidTraceContext>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Headers", into = "Headers")]
pub struct TraceContext {
    trace_id: u128,
    parent_id: u64,
    flags: u8,
    state: Option<Arc<str>>,
}

/// The serialized form.
#[derive(Serialize, Deserialize)]
struct Headers {
    traceparent: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
}

impl From<TraceContext> for Headers {
    fn from(context: TraceContext) -> Self {
        let tracestate = context.state().map(str::to_owned);
        Self { traceparent: context.to_string(), tracestate }
    }
}

impl TryFrom<Headers> for TraceContext {
    type Error = InvalidTraceContext;

    fn try_from(headers: Headers) -> Result<Self, InvalidTraceContext> {
        let context: Self = headers.traceparent.parse()?;
        match headers.tracestate {
            Some(state) => context.with_state(&state),
            None => Ok(context),
        }
    }
}

/// Why a text is not a trace context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidTraceContext(&'static str);

impl fmt::Display for InvalidTraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidTraceContext {}

impl TraceContext {
    /// The trace's number, never 0.
    #[must_use]
    pub fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The number of the caller's span, never 0.
    #[must_use]
    pub fn parent_id(&self) -> u64 {
        self.parent_id
    }

    /// Whether the caller may have recorded its span.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The text of `tracestate`, if it was set.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Sets the text of `tracestate`: at most 512 bytes of printable ASCII, at most 32 members such as `vendor=value`,
    /// separated by commas.
    ///
    /// # Errors
    ///
    /// [`InvalidTraceContext`] if the text has another form.
    pub fn with_state(mut self, state: &str) -> Result<Self, InvalidTraceContext> {
        if state.len() > MAX_STATE {
            return Err(InvalidTraceContext("`tracestate` has more than 512 bytes"));
        }
        if !state.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
            return Err(InvalidTraceContext("`tracestate` must be printable ASCII"));
        }
        let members = || state.split(',').map(str::trim).filter(|member| !member.is_empty());
        if members().count() > MAX_MEMBERS {
            return Err(InvalidTraceContext("`tracestate` has more than 32 members"));
        }
        let is_member = |member: &str| {
            member.split_once('=').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty())
        };
        if !members().all(is_member) {
            return Err(InvalidTraceContext(
                "`tracestate` must be members such as `vendor=value`, separated by commas",
            ));
        }
        self.state = Some(state.into());
        Ok(self)
    }
}

/// Parses `traceparent`: `VERSION-TRACE_ID-PARENT_ID-FLAGS` in lower-case hexadecimal digits. Of versions above 00, the
/// fields of version 00 are read and the others ignored.
impl FromStr for TraceContext {
    type Err = InvalidTraceContext;

    fn from_str(text: &str) -> Result<Self, InvalidTraceContext> {
        const FORM: InvalidTraceContext = InvalidTraceContext(
            "expected `traceparent` such as `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`",
        );
        let (known, more) = text.split_at_checked(LEN).ok_or(FORM)?;
        let mut fields = known.split('-');
        let mut field = |len: usize| {
            let digits = fields.next().filter(|digits| digits.len() == len)?;
            let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            if !digits.bytes().all(is_digit) {
                return None;
            }
            u128::from_str_radix(digits, 16).ok()
        };
        let version = field(2).ok_or(FORM)?;
        let (trace_id, parent_id) = (field(32).ok_or(FORM)?, field(16).ok_or(FORM)?);
        let flags = field(2).ok_or(FORM)?;
        if version == 0xff {
            return Err(InvalidTraceContext("version ff of `traceparent` is not allowed"));
        }
        if (version == 0 && !more.is_empty()) || !(more.is_empty() || more.starts_with('-')) {
            return Err(FORM);
        }
        if trace_id == 0 || parent_id == 0 {
            return Err(InvalidTraceContext("the ids of `traceparent` must not be 0"));
        }
        // The digits were counted, so the numbers fit. Of later versions, only this flag is known.
        let flags = u8::try_from(flags).map_err(|_| FORM)?;
        let flags = if version == 0 { flags } else { flags & SAMPLED };
        let parent_id = u64::try_from(parent_id).map_err(|_| FORM)?;
        Ok(Self { trace_id, parent_id, flags, state: None })
    }
}

/// Writes `traceparent` in version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, parent_id, flags, .. } = self;
        write!(f, "00-{trace_id:032x}-{parent_id:016x}-{flags:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parsed(text: &str) -> Result<TraceContext, InvalidTraceContext> {
        text.parse()
    }

    #[test]
    fn a_traceparent_round_trips() {
        let context = parsed(VALID).unwrap();
        assert_eq!(context.trace_id(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(context.parent_id(), 0x00f0_67aa_0ba9_02b7);
        assert_eq!(context.to_string(), VALID);
        assert!(!parsed(&VALID.replace("-01", "-02")).unwrap().is_sampled());
    }

    #[test]
    fn invalid_texts_are_rejected() {
        for end in 0..VALID.len() {
            assert!(parsed(&VALID[..end]).is_err(), "cut at {end}");
        }
        for text in [
            &VALID.to_uppercase(),
            &VALID.replace("00-4", "ff-4"),
            &VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &VALID.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &VALID.replace('-', "_"),
            &VALID.replace("-01", "-+1"),
            &format!("{VALID}-"),
            &format!("{VALID} "),
            "00-ä",
            &"ä".repeat(LEN),
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_version_00() {
        let later = VALID.replace("00-4", "cc-4").replace("-01", "-ff");
        for text in [later.clone(), format!("{later}-more")] {
            assert_eq!(parsed(&text).unwrap().to_string(), VALID);
        }
        assert!(parsed(&format!("{later}x")).is_err());
    }

    #[test]
    fn it_serializes_as_its_headers() {
        let context = parsed(VALID).unwrap().with_state("a=b").unwrap();
        let json = serde_json::to_value(&context).unwrap();
        assert_eq!(json, serde_json::json!({ "traceparent": VALID, "tracestate": "a=b" }));
        assert_eq!(serde_json::from_value::<TraceContext>(json).unwrap(), context);
        let invalid = serde_json::json!({ "traceparent": VALID, "tracestate": "a" });
        assert!(serde_json::from_value::<TraceContext>(invalid).is_err());
    }

    #[test]
    fn a_tracestate_is_bounded() {
        let context = parsed(VALID).unwrap();
        let state = |text: &str| context.clone().with_state(text);
        let members = |count| vec!["a=b"; count].join(",");
        for valid in ["", "a=1", "a=1, b@c=x y ,", &members(32)] {
            assert_eq!(state(valid).unwrap().state(), Some(valid));
        }
        let long = format!("a={}", "x".repeat(511));
        for invalid in ["a", "=1", "a=", "a=\n", "a=ä", &members(33), &long] {
            assert!(state(invalid).is_err(), "{invalid}");
        }
    }
}
