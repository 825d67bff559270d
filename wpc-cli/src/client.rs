//! The client of a server: its URL, its token, and its errors.

use crate::agent;
use crate::exit_code::ExitCode;
use crate::failure::Failure;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::http::{Request, Response, Uri};
use ureq::{Agent, AsSendBody, Body};
use wpc_host::ErrorCode;

/// How long connecting may take. The server has its own limit for the rest.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum size of a problem document in bytes.
const MAX_PROBLEM: u64 = 1 << 20;

/// The maximum size of any other response in bytes: enough for 100,000 functions.
const MAX_ANSWER: u64 = 256 << 20;

/// The environment variable of the server.
const SERVER: &str = "WPC_SERVER";

/// The environment variable of the token.
const TOKEN: &str = "WPC_TOKEN";

/// The server's code of a request without a valid token.
const UNAUTHENTICATED: &str = "unauthenticated";

/// The server of a command.
#[derive(clap::Args)]
pub(crate) struct ServerOptions {
    /// Use the server at this URL, such as `http://127.0.0.1:7071`, or at the Unix socket `unix:PATH`. All commands except
    /// `wpc call` also use the environment variable `WPC_SERVER`.
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The token for the server. Other users of the machine may see it in the list of processes; the environment variable
    /// `WPC_TOKEN` hides it from them.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// With HTTPS: trust the certificates in this PEM file instead of those that the system trusts. The environment variable
    /// `WPC_CA` can name it, too.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl ServerOptions {
    /// The client, if a server was given.
    pub(crate) fn client(&self) -> Option<Result<Client, Failure>> {
        let Some(url) = self.server.as_deref() else {
            let failure = Failure::usage("`--token` needs `--server URL`");
            return self.token.as_ref().map(|_| Err(failure));
        };
        let of_option = self.token.clone().map(|text| Token { text, source: "`--token`" });
        let of_variable = || {
            let text = std::env::var(TOKEN).ok()?;
            Some(Token { text, source: "WPC_TOKEN" })
        };
        let token = of_option.or_else(of_variable).filter(|token| !token.text.is_empty());
        Some(Client::new(url, token, self.ca.as_deref()))
    }

    /// The client, if a server was given or the environment variable `WPC_SERVER` names one.
    pub(crate) fn client_or_variable(&self) -> Option<Result<Client, Failure>> {
        let server = self.server.clone().or_else(named_by_variable);
        let server = server.filter(|server| !server.is_empty());
        Self { server, token: self.token.clone(), ca: self.ca.clone() }.client()
    }

    /// The client of a command that needs a server, which the environment variable `WPC_SERVER` can name as well.
    pub(crate) fn required(&self) -> Result<Client, Failure> {
        let none =
            || Failure::usage("no server is named; name one with `--server URL` or WPC_SERVER");
        self.client_or_variable().unwrap_or_else(|| Err(none()))
    }
}

/// The server that the environment variable names.
pub(crate) fn named_by_variable() -> Option<String> {
    std::env::var(SERVER).ok().filter(|server| !server.is_empty())
}

/// A token, and what named it.
struct Token {
    text: String,
    source: &'static str,
}

/// A client of one server.
pub(crate) struct Client {
    agent: Agent,
    /// The server as it was named, for errors.
    server: String,
    /// Without a slash at the end.
    url: String,
    token: Option<Token>,
}

impl Client {
    fn new(server: &str, token: Option<Token>, ca: Option<&Path>) -> Result<Self, Failure> {
        if !is_valid(server) {
            return Err(Failure::usage(format!(
                "--server {server}: expected a URL such as `http://127.0.0.1:7071`, or `unix:PATH`"
            )));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("wpc/", env!("CARGO_PKG_VERSION")));
        let server = server.trim_end_matches('/');
        let (agent, url) = agent::agent(config, server, ca)?;
        Ok(Self { agent, server: server.to_owned(), url, token })
    }

    /// A request to a path of the server, with the token.
    pub(crate) fn request(&self, method: &str, path: &str) -> ureq::http::request::Builder {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {}", token.text)),
            None => request,
        }
    }

    /// Sends a request. A response with a problem document is returned as the failure that it
    /// describes.
    pub(crate) fn send<B: AsSendBody>(
        &self,
        request: ureq::http::request::Builder,
        body: B,
    ) -> Result<Response<Body>, Failure> {
        let request = request
            .body(body)
            .map_err(|error| Failure::usage(format!("the request is invalid: {error}")))?;
        let response =
            self.agent.run(request).map_err(|error| self.unreachable(&agent::reason(&error)))?;
        if response.status().is_success() { Ok(response) } else { Err(self.refused(response)) }
    }

    /// Sends JSON, and reads JSON.
    pub(crate) fn json(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let request = self.request(method, path);
        let mut response = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.send(request, body.to_string())?
            }
            None => self.send(request, ())?,
        };
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        let body = body.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body)
            .map_err(|error| self.unreachable(&format!("the response is not JSON: {error}")))
    }

    /// The failure of a connection.
    pub(crate) fn unreachable(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::environment(format!("failed to reach the server {}: {error}", self.server))
    }

    fn refused(&self, mut response: Response<Body>) -> Failure {
        let status = response.status();
        let body = response.body_mut().with_config().limit(MAX_PROBLEM).read_to_vec();
        let problem = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
        let problem = problem.and_then(RemoteProblem::new).map(|problem| self.explained(problem));
        problem
            .map_or_else(|| self.unreachable(&format!("the status is {status}")), Failure::remote)
    }

    /// The problem in terms of the command: its options and variables instead of headers.
    fn explained(&self, mut problem: RemoteProblem) -> RemoteProblem {
        let is_of_stream = problem.code == ErrorCode::YieldsItems.as_str();
        if let Some(function) = problem.text("function").filter(|_| is_of_stream) {
            problem.detail =
                format!("function \"{function}\" yields items; read them with `--stream`");
        } else if problem.code == UNAUTHENTICATED {
            problem.detail = match &self.token {
                None => format!(
                    "the server {} requires a token; set {TOKEN}, or pass one with `--token TOKEN`",
                    self.server
                ),
                Some(Token { source, .. }) => {
                    format!("the server refused the token of {source}: {}", problem.detail)
                }
            };
        }
        problem
    }
}

/// Encodes a segment of a path, or a value of a query.
pub(crate) fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}

fn is_valid(server: &str) -> bool {
    match server.strip_prefix("unix:") {
        Some(path) => !path.is_empty(),
        None => server.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some()
                && uri.query().is_none()
        }),
    }
}

/// A problem document of a server.
#[derive(Debug)]
pub(crate) struct RemoteProblem {
    code: String,
    detail: String,
    document: Value,
}

impl RemoteProblem {
    /// `None` if the value is not a problem document.
    pub(crate) fn new(document: Value) -> Option<Self> {
        let text = |name: &str| Some(document.get(name)?.as_str()?.to_owned());
        // The command's options are query parameters of its requests.
        let detail = text("detail")?.replace("the query parameter `", "`--");
        Some(Self { code: text("code")?, detail, document })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.member(name)?.as_str()
    }

    /// Another member of the document.
    pub(crate) fn member(&self, name: &str) -> Option<&Value> {
        self.document.get(name)
    }

    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// What went wrong, and after how many items.
    pub(crate) fn message(&self) -> String {
        match self.document.get("items").and_then(Value::as_u64) {
            Some(items) => format!("{} (after {})", self.detail, crate::text::count(items, "item")),
            None => self.detail.clone(),
        }
    }

    /// The exit code of the same error of a pool. An error of the server itself has the exit code
    /// of its kind.
    pub(crate) fn exit_code(&self) -> ExitCode {
        if let Ok(code) = self.code.parse::<ErrorCode>() {
            return ExitCode::of(code);
        }
        match self.document.get("status").and_then(Value::as_u64) {
            Some(401 | 403 | 404) => ExitCode::Rejected,
            Some(400..500) => ExitCode::Usage,
            _ => ExitCode::System,
        }
    }

    /// The error as other commands print it, with the whole document.
    pub(crate) fn json(&self) -> Value {
        serde_json::json!({
            "code": self.code,
            "message": self.detail,
            "retry_can_help": self.document.get("retryable"),
            "problem": self.document,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_url_of_a_server_is_checked() {
        for url in ["http://127.0.0.1:7071", "http://[::1]:80/prefix/"] {
            assert!(Client::new(url, None, None).is_ok(), "{url}");
        }
        for url in ["", "localhost:7071", "ftp://a", "http://a/?b", "http:///"] {
            assert!(Client::new(url, None, None).is_err(), "{url}");
        }
    }

    #[test]
    fn a_problem_has_the_exit_code_of_its_error() {
        for (code, status, exit) in [
            ("timeout", 504, ExitCode::Timeout),
            ("bad_arguments", 422, ExitCode::Usage),
            ("forbidden", 403, ExitCode::Rejected),
            ("bad_request", 400, ExitCode::Usage),
            ("internal", 500, ExitCode::System),
        ] {
            let document = json!({ "code": code, "detail": "…", "status": status });
            assert_eq!(RemoteProblem::new(document).unwrap().exit_code(), exit, "{code}");
        }
        assert!(RemoteProblem::new(json!({ "error": "…" })).is_none());
    }
}
