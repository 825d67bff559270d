//! An error as one process reports it to another.

use super::{CallOutcome, Error, ErrorCode, ErrorKind, PayloadType, Remedy};
use postcard_schema::schema::owned::OwnedNamedType;
use serde::{Deserialize, Serialize};
use wpc_abi::GuestError;

/// An error as one process reports it to another, which returns it to its caller: every part that a caller reads, as data.
///
/// ```
/// use wpc_host::{Error, ErrorReport};
///
/// let error = Error::function_not_defined("resize");
/// let text = serde_json::to_string(&ErrorReport::from(&error))?;
/// let received = Error::from(serde_json::from_str::<ErrorReport>(&text)?);
/// assert_eq!(received.code(), error.code());
/// assert_eq!(received.to_string(), error.to_string());
/// assert_eq!(received.outcome(), error.outcome());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorReport {
    /// The code.
    pub code: ErrorCode,
    /// Who can act on it.
    pub kind: ErrorKind,
    /// What is known about the execution of the call.
    pub outcome: CallOutcome,
    /// Whether the same call may succeed later.
    pub retry_can_help: bool,
    /// The text.
    pub text: String,
    /// The remedy.
    pub remedy: Option<Remedy>,
    /// The error that the function returned, for the code [`Guest`](ErrorCode::Guest).
    pub guest: Option<GuestReport>,
}

/// The error that a function returned, in an [`ErrorReport`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuestReport {
    /// The called function.
    pub function: String,
    /// The error's name, message and stack.
    pub error: GuestError,
    /// The variant of its type; may be empty.
    pub variant: String,
    /// The error itself, encoded.
    pub payload: Option<Vec<u8>>,
    /// The declared type of the payload.
    #[serde(default, with = "super::type_record")]
    pub payload_type: Option<OwnedNamedType>,
}

impl ErrorReport {
    /// A report with this code, outcome and text, and without a remedy. Kind and retry advice are those of the code.
    #[must_use]
    pub fn new(code: ErrorCode, outcome: CallOutcome, text: impl Into<String>) -> Self {
        let kind = match (code, outcome) {
            (ErrorCode::Timeout, CallOutcome::NotStarted) => ErrorKind::Capacity,
            _ => code.kind(),
        };
        let retry_can_help = code.retry_can_help();
        let text = text.into();
        Self { code, kind, outcome, retry_can_help, text, remedy: None, guest: None }
    }
}

impl From<&Error> for ErrorReport {
    fn from(error: &Error) -> Self {
        if let Error::Reported(report) = error {
            return (**report).clone();
        }
        let guest = match error {
            Error::Guest { function, error, payload_type } => Some(GuestReport {
                function: function.clone(),
                variant: error.variant.clone(),
                payload: error.payload.clone(),
                payload_type: payload_type.as_ref().map(|ty| ty.ty().clone()),
                error: (**error).clone(),
            }),
            _ => None,
        };
        Self {
            code: error.code(),
            kind: error.kind(),
            outcome: error.outcome(),
            retry_can_help: error.retry_can_help(),
            text: error.to_string(),
            remedy: error.remedy(),
            guest,
        }
    }
}

/// An error with the parts of the report. The error that a function returned becomes an [`Error::Guest`] again, any other one an
/// [`Error::Reported`].
impl From<ErrorReport> for Error {
    fn from(report: ErrorReport) -> Self {
        match report {
            ErrorReport { code: ErrorCode::Guest, guest: Some(guest), .. } => {
                let GuestReport { function, mut error, variant, payload, payload_type } = guest;
                (error.variant, error.payload) = (variant, payload);
                let payload_type = payload_type.map(PayloadType::new);
                Self::Guest { function, error: Box::new(error), payload_type }
            }
            report => Self::Reported(Box::new(report)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::tests::every_error;

    /// As another process receives it.
    fn received(error: &Error) -> Error {
        let bytes = postcard::to_allocvec(&ErrorReport::from(error)).unwrap();
        postcard::from_bytes::<ErrorReport>(&bytes).unwrap().into()
    }

    #[test]
    fn every_error_keeps_its_parts_from_process_to_process() {
        for error in every_error() {
            let received = received(&error);
            assert_eq!(received.code(), error.code());
            assert_eq!(received.kind(), error.kind(), "{error}");
            assert_eq!(received.outcome(), error.outcome(), "{error}");
            assert_eq!(received.outcome_unknown(), error.outcome_unknown(), "{error}");
            assert_eq!(received.retry_can_help(), error.retry_can_help(), "{error}");
            assert_eq!(received.to_string(), error.to_string());
            assert_eq!(received.remedy(), error.remedy(), "{error}");
        }
    }

    #[test]
    fn a_report_is_passed_on_unchanged() {
        for error in every_error() {
            let report = ErrorReport::from(&error);
            assert_eq!(ErrorReport::from(&received(&error)), report);
        }
    }

    #[test]
    fn the_error_that_a_function_returned_stays_typed() {
        let mut error = GuestError::new("Empty", "the text is empty");
        error.variant = "Empty".to_owned();
        error.payload = Some(vec![1, 2]);
        let error = Error::Guest {
            function: "f".to_owned(),
            error: Box::new(error.clone()),
            payload_type: None,
        };
        let Error::Guest { function, error: received, .. } = received(&error) else {
            panic!("another variant")
        };
        let Error::Guest { error, .. } = error else { unreachable!() };
        assert_eq!((function.as_str(), received), ("f", error));
    }

    #[test]
    fn a_payload_type_is_passed_on_and_its_depth_is_bounded() {
        use postcard_schema::schema::owned::OwnedDataModelType as Type;
        let nested = |depth| {
            let mut ty = OwnedNamedType { name: "Leaf".to_owned(), ty: Type::U8 };
            for _ in 0..depth {
                ty = OwnedNamedType { name: String::new(), ty: Type::Option(Box::new(ty)) };
            }
            let error = GuestError::new("Empty", "the text is empty");
            let payload_type = Some(PayloadType::new(ty));
            let error =
                Error::Guest { function: "f".to_owned(), error: Box::new(error), payload_type };
            ErrorReport::from(&error)
        };
        let report = nested(3);
        let bytes = postcard::to_allocvec(&report).unwrap();
        assert_eq!(postcard::from_bytes::<ErrorReport>(&bytes).unwrap(), report);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<ErrorReport>(&text).unwrap(), report);
        let bytes = postcard::to_allocvec(&nested(1_000)).unwrap();
        postcard::from_bytes::<ErrorReport>(&bytes).unwrap_err();
    }
}
