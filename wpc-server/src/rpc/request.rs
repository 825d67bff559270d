//! Reads JSON-RPC requests, alone or in a batch.

use crate::calls::{JsonPath, StrictJson};
use crate::problem::{Problem, ServerCode};
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;
use wpc_host::CallArguments;

/// The content of a body or of a message.
#[derive(Debug)]
pub(super) enum Message {
    Single(Request),
    Batch(Vec<Request>),
}

/// A request, which may be invalid.
#[derive(Debug)]
pub(super) struct Request {
    /// As the client wrote it, so that it is returned exactly; `None` for a notification.
    pub(super) id: Option<Box<RawValue>>,
    pub(super) call: Result<Call, Problem>,
}

/// The function and the arguments of a valid request.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) function: String,
    pub(super) arguments: CallArguments,
}

impl Request {
    /// It has no `id` that could be returned, so the response has `null`.
    fn invalid(detail: &str) -> Self {
        let id = Some(RawValue::NULL.to_owned());
        Self { id, call: Err(Problem::bad_request(detail)) }
    }
}

/// Reads a text with a request, or with a batch of at most `max_batch` requests.
pub(super) fn read(text: &[u8], max_batch: usize) -> Result<Message, Problem> {
    let mut state = State { path: JsonPath::default(), max_batch, is_too_long: false };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let message = deserializer.deserialize_any(Messages(&mut state));
    let message = message.and_then(|message| deserializer.end().map(|()| message));
    match message {
        Ok(Message::Batch(requests)) if requests.is_empty() => {
            Err(Problem::bad_request("the batch is empty"))
        }
        Ok(message) => Ok(message),
        Err(_) if state.is_too_long => {
            let detail = format!("the batch has more than {max_batch} requests");
            Err(Problem::new(ServerCode::BatchTooLong, detail))
        }
        Err(error) => Err(state.path.problem(&error)),
    }
}

struct State {
    path: JsonPath,
    max_batch: usize,
    is_too_long: bool,
}

/// Visits a value that is a request if it is an object, and otherwise an invalid one.
macro_rules! others_are_invalid {
    ($wrap:expr, $expected:literal) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str($expected)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($wrap(Request::invalid(concat!("expected ", $expected))))
        }

        fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Self::Value, E> {
            self.visit_unit()
        }

        fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Self::Value, E> {
            self.visit_unit()
        }

        fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Self::Value, E> {
            self.visit_unit()
        }

        fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Self::Value, E> {
            self.visit_unit()
        }

        fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> {
            self.visit_unit()
        }
    };
}

/// Reads the whole message.
struct Messages<'a>(&'a mut State);

impl<'de> Visitor<'de> for Messages<'_> {
    type Value = Message;

    others_are_invalid!(Message::Single, "a request object, or an array of them");

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Message, A::Error> {
        read_request(entries, &mut self.0.path).map(Message::Single)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Message, A::Error> {
        let state = self.0;
        let mut requests = Vec::new();
        loop {
            match items.next_element_seed(Element(&mut state.path)) {
                Ok(Some(_)) if requests.len() == state.max_batch => {
                    state.is_too_long = true;
                    return Err(A::Error::custom("the batch is too long"));
                }
                Ok(Some(request)) => requests.push(request),
                Ok(None) => return Ok(Message::Batch(requests)),
                Err(error) => {
                    state.path.within_index(requests.len());
                    return Err(error);
                }
            }
        }
    }
}

/// Reads an element of a batch.
struct Element<'a>(&'a mut JsonPath);

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = Request;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Request, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = Request;

    others_are_invalid!(std::convert::identity, "a request object");

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Request, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        self.visit_unit()
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Request, A::Error> {
        read_request(entries, self.0)
    }
}

fn read_request<'de, A: MapAccess<'de>>(
    mut entries: A,
    path: &mut JsonPath,
) -> Result<Request, A::Error> {
    let mut members = Members::default();
    while let Some(key) = entries.next_key::<String>()? {
        let is_repeated = match key.as_str() {
            "jsonrpc" => members.version.replace(entries.next_value()?).is_some(),
            "method" => members.method.replace(entries.next_value()?).is_some(),
            "id" => members.id.replace(entries.next_value()?).is_some(),
            "params" => match entries.next_value_seed(StrictJson::new(path)) {
                Ok(value) => members.params.replace(value).is_some(),
                Err(error) => {
                    path.within_key(&key);
                    return Err(error);
                }
            },
            // The specification does not forbid other members.
            _ => {
                entries.next_value::<IgnoredAny>()?;
                false
            }
        };
        if is_repeated {
            path.within_key(&key);
            return Err(A::Error::custom("the key occurs twice"));
        }
    }
    Ok(members.request())
}

/// The members of a request object.
#[derive(Default)]
struct Members<'de> {
    version: Option<&'de RawValue>,
    method: Option<&'de RawValue>,
    id: Option<&'de RawValue>,
    params: Option<Value>,
}

impl Members<'_> {
    fn request(self) -> Request {
        let id = self.id.map(RawValue::to_owned);
        match (id.as_deref().is_none_or(is_id), self.call()) {
            // An invalid request is not a notification, even if it has no `id`.
            (true, Err(problem)) => {
                let id = id.or_else(|| Some(RawValue::NULL.to_owned()));
                Request { id, call: Err(problem) }
            }
            (true, call) => Request { id, call },
            (false, _) => Request::invalid("`id`: expected a string, a number or null"),
        }
    }

    fn call(self) -> Result<Call, Problem> {
        if self.version.is_none_or(|version| text(version).as_deref() != Some("2.0")) {
            return Err(Problem::bad_request("`jsonrpc`: expected \"2.0\""));
        }
        let function = self.method.and_then(text);
        let function = function
            .ok_or_else(|| Problem::bad_request("`method`: expected the name of a function"))?;
        let arguments = match self.params {
            None => CallArguments::Positional(Vec::new()),
            Some(Value::Array(values)) => CallArguments::Positional(values),
            Some(Value::Object(values)) => CallArguments::Named(values),
            Some(_) => {
                return Err(Problem::bad_request("`params`: expected an array or an object"));
            }
        };
        Ok(Call { function, arguments })
    }
}

fn is_id(id: &RawValue) -> bool {
    id.get().starts_with(|first: char| matches!(first, '"' | '-' | 'n' | '0'..='9'))
}

/// The content of a string.
fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(text: &str) -> Request {
        match read(text.as_bytes(), 2) {
            Ok(Message::Single(request)) => request,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn an_id_is_kept_as_it_was_written() {
        for id in [
            "1",
            "-0",
            "1.50",
            "1e400",
            "123456789012345678901234567890",
            "\"\\u0061\"",
            "\"\"",
            "null",
        ] {
            let request = single(&format!(r#"{{"jsonrpc": "2.0", "method": "f", "id": {id} }}"#));
            assert_eq!(request.id.unwrap().get(), id);
            assert!(request.call.is_ok());
        }
        assert!(single(r#"{"jsonrpc": "2.0", "method": "f"}"#).id.is_none());
    }

    #[test]
    fn an_invalid_request_is_answered_without_an_id_too() {
        for (text, part) in [
            ("1", "request object"),
            ("null", "request object"),
            ("{}", "jsonrpc"),
            (r#"{"jsonrpc": 2.0, "method": "f"}"#, "jsonrpc"),
            (r#"{"jsonrpc": "1.0", "method": "f"}"#, "jsonrpc"),
            (r#"{"jsonrpc": "2.0", "method": 1}"#, "method"),
            (r#"{"jsonrpc": "2.0", "method": "f", "params": "bar"}"#, "params"),
            (r#"{"jsonrpc": "2.0", "method": "f", "params": null}"#, "params"),
            (r#"{"jsonrpc": "2.0", "method": "f", "id": true}"#, "id"),
            (r#"{"jsonrpc": "2.0", "method": "f", "id": [1]}"#, "id"),
        ] {
            let request = single(text);
            assert_eq!(request.id.unwrap().get(), "null", "{text}");
            let problem = request.call.unwrap_err();
            assert!(problem.details().detail.contains(part), "{text}: {problem:?}");
        }
        let request = single(r#"{"id": 7, "jsonrpc": "1.0", "method": "f"}"#);
        assert_eq!(request.id.unwrap().get(), "7");
    }

    #[test]
    fn an_invalid_element_does_not_affect_the_others_of_a_batch() {
        let text =
            r#"[[[1], 2], {"jsonrpc": "2.0", "method": "f", "params": {"a": 1}, "id": "x"}]"#;
        let Ok(Message::Batch(requests)) = read(text.as_bytes(), 2) else { panic!("not a batch") };
        assert!(requests[0].call.is_err() && requests[1].call.is_ok());
    }

    #[test]
    fn a_message_that_cannot_be_answered_request_by_request_is_one_problem() {
        for (text, code, part) in [
            ("[]", -32600, "empty"),
            ("[1, 2, 3]", -32600, "more than 2"),
            ("{", -32700, "not JSON"),
            ("[1] x", -32700, "not JSON"),
            (r#"[{"id": 1, "id": 2}]"#, -32700, "$[0][\"id\"]"),
            (r#"[1, {"params": {"a": 1, "a": 2}}]"#, -32700, "$[1][\"params\"][\"a\"]"),
        ] {
            let problem = read(text.as_bytes(), 2).unwrap_err();
            assert_eq!(problem.json_rpc_code(), code, "{text}");
            assert!(problem.details().detail.contains(part), "{text}: {problem:?}");
        }
        let long = "[".to_owned() + &"1,".repeat(1_000_000) + "1]";
        assert!(read(long.as_bytes(), 1000).is_err());
    }
}
