//! Runs the requests of a message.

use super::request::{Call, Message, Request};
use super::response;
use crate::access::Principal;
use crate::application::Application;
use crate::calls;
use crate::problem::{Problem, ServerCode};
use futures::stream::{FuturesUnordered, StreamExt as _};
use serde_json::value::RawValue;
use wpc_host::{CallOptions, CallOutcome, ReplyFormat, ReplyValue, SubmittedCall};

/// The client of messages, and the settings of all its calls.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) application: Application,
    pub(super) principal: Principal,
    pub(super) options: CallOptions,
}

/// A request whose call was submitted or refused.
pub(super) struct Begun {
    id: Option<Box<RawValue>>,
    function: String,
    call: Result<SubmittedCall, Problem>,
}

/// The requests of a message, whose calls were submitted. Dropping it cancels those that are not answered.
#[must_use = "dropping it cancels the calls"]
pub(super) enum Submitted {
    Single(Begun),
    Batch {
        requests: Vec<Begun>,
        /// The maximum size of the response in bytes.
        max_result: usize,
    },
}

impl Client {
    /// Submits all calls of a message.
    pub(super) fn submit(&self, message: Message) -> Submitted {
        let requests = match message {
            Message::Single(request) => {
                return Submitted::Single(self.begin(request, &self.options));
            }
            Message::Batch(requests) => requests,
        };
        // A batch may have more calls than the workers' queues accept. The others wait within the time limit, which is the
        // same for all calls.
        let options = self.options.clone().wait_for_capacity();
        let requests = requests.into_iter().map(|request| self.begin(request, &options)).collect();
        let max_result = self.application.settings().max_batch_result;
        Submitted::Batch { requests, max_result }
    }

    fn begin(&self, request: Request, options: &CallOptions) -> Begun {
        let Request { id, call } = request;
        match call {
            Ok(Call { function, arguments }) => {
                let (application, principal) = (&self.application, &self.principal);
                let format = ReplyFormat::JsonText;
                let call =
                    calls::submit(application, principal, &function, arguments, format, options);
                Begun { id, function, call }
            }
            Err(problem) => Begun { id, function: String::new(), call: Err(problem) },
        }
    }
}

impl Submitted {
    /// The number of requests.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Single(_) => 1,
            Self::Batch { requests, .. } => requests.len(),
        }
    }

    /// The text of the response; `None` if the message consists of notifications.
    pub(super) async fn answer(self) -> Option<Vec<u8>> {
        let (requests, max_result) = match self {
            Self::Single(request) => {
                let mut out = Vec::new();
                let (id, answer) = request.answer().await;
                response::write(&mut out, &id?, &answer);
                return Some(out);
            }
            Self::Batch { requests, max_result } => (requests, max_result),
        };
        let mut answers: FuturesUnordered<_> = requests.into_iter().map(Begun::answer).collect();
        let mut out = Vec::new();
        while let Some((id, answer)) = answers.next().await {
            let Some(id) = id else { continue };
            out.push(if out.is_empty() { b'[' } else { b',' });
            let before = out.len();
            response::write(&mut out, &id, &answer);
            if out.len() > max_result && answer.is_ok() {
                out.truncate(before);
                response::write(&mut out, &id, &Err(too_large(max_result)));
            }
        }
        if out.is_empty() {
            return None;
        }
        out.push(b']');
        Some(out)
    }
}

impl Begun {
    async fn answer(self) -> (Option<Box<RawValue>>, Result<Vec<u8>, Problem>) {
        let Self { id, function, call } = self;
        let call = match call {
            Ok(call) => call,
            Err(problem) => return (id, Err(problem)),
        };
        let (number, hash) = (call.id(), call.function_hash_sha1());
        let answer = match call.await {
            Ok(reply) => match reply.value {
                ReplyValue::JsonText(text) => Ok(text),
                _ => Ok(b"null".to_vec()),
            },
            Err(error) => Err(Problem::of_call(&error, &function).with_call(number, hash)),
        };
        (id, answer)
    }
}

/// The error in place of a result that does not fit.
fn too_large(limit: usize) -> Problem {
    let detail = format!("the responses of a batch may have at most {limit} bytes together");
    Problem::new(ServerCode::BatchResultTooLarge, detail).with_outcome(CallOutcome::Finished)
}
