//! Which names of the server and which web pages are accepted.
//!
//! A web page can send requests to any address that its browser reaches, such as a server on the same machine. A browser
//! states in `Origin` which page sent a request; pages of other origins are refused, unless they are allowed. A page can also
//! point a domain of its own at the server's address, so the browser treats both as one origin (DNS rebinding). The browser then states
//! that domain in `Host`; names that are not the server's are refused. IP addresses are accepted: a page cannot point one somewhere else.

use super::refusal;
use crate::problem::Problem;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header};
use std::net::IpAddr;

/// The accepted names and origins.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    names: Vec<String>,
    is_any_name_accepted: bool,
    origins: Vec<String>,
}

/// An accepted request.
pub(super) enum Accepted {
    /// A request that is not sent by a web page, or by a page of this server.
    Same,
    /// A request of a web page with an allowed origin, which the response must name.
    Cross(HeaderValue),
    /// A preflight request, by which a browser checks whether it may send a request, with the response.
    Preflight(Box<Response<Body>>),
}

const ALLOWED_METHODS: &str = "GET, POST, PUT, PATCH, DELETE";
const ALLOWED_HEADERS: &str = "accept, authorization, content-type, idempotency-key, if-match, if-none-match, \
     last-event-id, traceparent, tracestate, x-request-id";
const EXPOSED_HEADERS: &str = "etag, idempotent-replayed, location, ratelimit, ratelimit-policy, retry-after, wpc-call-id, wpc-fuel-used, www-authenticate";
/// How long a browser may cache the response to a preflight request, in seconds.
const PREFLIGHT_AGE: &str = "600";

impl Hosts {
    /// Accepts these names in addition to `localhost` and IP addresses (`*` for any), and pages of these origins.
    pub(super) fn new(names: &[String], origins: &[String]) -> Self {
        let origins =
            origins.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase());
        Self {
            names: names.iter().map(|name| name.to_ascii_lowercase()).collect(),
            is_any_name_accepted: names.iter().any(|name| name == "*"),
            origins: origins.collect(),
        }
    }

    pub(super) fn check(&self, request: &Parts) -> Result<Accepted, Problem> {
        if self.is_plain(request) {
            return Ok(Accepted::Same);
        }
        let target = request.uri.authority();
        // With HTTP/2, and in a request for a proxy, the server's name is a part of the target.
        let host = match target {
            Some(target) if !request.headers.contains_key(header::HOST) => target.clone(),
            _ => host(&request.headers)?,
        };
        self.check_name(&host)?;
        if let Some(target) = target {
            self.check_name(target)?;
        }
        let mut origins = request.headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(Accepted::Same) };
        let text = origin.to_str().unwrap_or_default();
        if origins.next().is_some() {
            return Err(refusal::origin(text));
        }
        if is_same_origin(text, &host) {
            return Ok(Accepted::Same);
        }
        if !self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(text)) {
            return Err(refusal::origin(text));
        }
        let asks = header::ACCESS_CONTROL_REQUEST_METHOD;
        if request.method == Method::OPTIONS && request.headers.contains_key(asks) {
            return Ok(Accepted::Preflight(Box::new(preflight(origin))));
        }
        Ok(Accepted::Cross(origin.clone()))
    }

    /// Whether it is a usual request, which needs no other check: it names only an accepted host, without user or brackets. Most
    /// requests are, and this allocates nothing.
    fn is_plain(&self, request: &Parts) -> bool {
        if request.uri.authority().is_some() || request.headers.contains_key(header::ORIGIN) {
            return false;
        }
        let mut values = request.headers.get_all(header::HOST).iter();
        let (Some(host), None) = (values.next(), values.next()) else { return false };
        let Ok(host) = host.to_str() else { return false };
        let (name, port) = host.split_once(':').unwrap_or((host, "0"));
        let is_name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-');
        !name.is_empty()
            && name.bytes().all(is_name)
            && port.bytes().all(|digit| digit.is_ascii_digit())
            && port.parse::<u16>().is_ok()
            && self.accepts(name)
    }

    fn accepts(&self, name: &str) -> bool {
        self.is_any_name_accepted
            || name.eq_ignore_ascii_case("localhost")
            || is_address(name)
            || self.names.iter().any(|accepted| accepted.eq_ignore_ascii_case(name))
    }

    fn check_name(&self, authority: &Authority) -> Result<(), Problem> {
        let name = authority.host();
        if !is_name_with_port(authority) {
            let found = authority.as_str();
            return Err(Problem::bad_request(format!(
                "the host of the request: expected a name or an address, with or without a port, found \"{found}\""
            )));
        }
        if self.accepts(name) { Ok(()) } else { Err(refusal::host(name)) }
    }
}

/// Whether the authority has nothing but a name or an address and a port. The parser accepts more, such as a user, or a name after
/// an address in brackets.
fn is_name_with_port(authority: &Authority) -> bool {
    let rest = authority.as_str().strip_prefix(authority.host());
    rest.is_some_and(|rest| match rest.strip_prefix(':') {
        // A port may be empty.
        Some(port) => port.is_empty() || authority.port_u16().is_some(),
        None => rest.is_empty(),
    })
}

/// Allows the page to read the response.
pub(super) fn allow(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let exposed = HeaderValue::from_static(EXPOSED_HEADERS);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
}

fn preflight(origin: &HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    allow(origin.clone(), headers);
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The only `Host` of a request.
fn host(headers: &HeaderMap) -> Result<Authority, Problem> {
    let mut values = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (values.next(), values.next()) else {
        return Err(Problem::bad_request("expected one `Host` header"));
    };
    Authority::try_from(host.as_bytes())
        .map_err(|error| Problem::bad_request(format!("`Host`: {error}")))
}

fn is_address(name: &str) -> bool {
    let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    v6.unwrap_or(name).parse::<IpAddr>().is_ok()
}

/// Whether the origin is the server itself, as the client names it. Schemes are not compared, because a proxy in front of the
/// server may use TLS when the server does not.
fn is_same_origin(text: &str, host: &Authority) -> bool {
    let Ok(origin) = text.parse::<Uri>() else { return false };
    let (Some(scheme), Some(authority)) = (origin.scheme_str(), origin.authority()) else {
        return false;
    };
    // An origin has no user, no path and no query.
    if !is_name_with_port(authority) || text.len() != scheme.len() + 3 + authority.as_str().len() {
        return false;
    }
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    authority.host().eq_ignore_ascii_case(host.host()) && port(authority) == port(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn check(hosts: &Hosts, host: &str, origin: Option<&str>) -> Result<Accepted, u16> {
        let mut request = Request::get("/").header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        hosts.check(&parts).map_err(|problem| problem.details().status)
    }

    #[test]
    fn names_of_other_servers_are_refused() {
        let hosts = Hosts::new(&["wpc.example".to_owned()], &[]);
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:7071", "[::1]:7071", "Wpc.Example:1"] {
            assert!(check(&hosts, host, None).is_ok(), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "wpc.example."]
        {
            assert_eq!(check(&hosts, host, None).err(), Some(421), "{host}");
        }
        for host in ["2130706433", "0177.0.0.1", "[fe80::1%25eth0]"] {
            assert_eq!(check(&hosts, host, None).err(), Some(421), "{host}");
        }
        for host in [
            "",
            "a b",
            "localhost:x:y",
            "http://localhost",
            "user@localhost",
            "localhost@evil.example",
            "localhost:99999",
            "[::1].evil.example",
            "[::1]evil.example:80",
            "[::1",
            "::1",
            "localhost, evil.example",
        ] {
            assert_eq!(check(&hosts, host, None).err(), Some(400), "{host}");
        }
        assert!(check(&hosts, "localhost:", None).is_ok());
    }

    #[test]
    fn a_request_for_another_server_is_refused_despite_its_host() {
        let request = Request::get("http://evil.example/").header("host", "localhost");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        assert!(Hosts::default().check(&parts).is_err());
    }

    #[test]
    fn a_request_has_one_host() {
        for hosts in [&["localhost", "evil.example"] as &[_], &[]] {
            let request = hosts.iter().fold(Request::get("/"), |r, host| r.header("host", *host));
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let refused = Hosts::default().check(&parts).err().unwrap();
            assert_eq!(refused.details().status, 400);
        }
    }

    #[test]
    fn a_request_with_two_origins_is_refused() {
        let request = Request::get("/").header("host", "localhost");
        let request =
            request.header("origin", "http://localhost").header("origin", "http://evil.example");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let refused = Hosts::default().check(&parts).err().unwrap();
        assert_eq!(refused.details().status, 403);
    }

    #[test]
    fn an_address_with_brackets_is_its_own_origin() {
        let hosts = Hosts::default();
        let origin = |text| check(&hosts, "[::1]:7071", Some(text)).map(drop);
        assert_eq!(origin("http://[::1]:7071"), Ok(()));
        assert_eq!(origin("http://[::2]:7071"), Err(403));
        assert_eq!(origin("http://[::1]"), Err(403));
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let hosts = Hosts::new(&[], &["https://app.example".to_owned()]);
        let same = ["http://localhost:7071", "https://LOCALHOST:7071"];
        for origin in same {
            assert!(matches!(check(&hosts, "localhost:7071", Some(origin)), Ok(Accepted::Same)));
        }
        let app = Some("https://app.example");
        assert!(matches!(check(&hosts, "localhost:7071", app), Ok(Accepted::Cross(_))));
        let others = [
            "null",
            "",
            "http://localhost",
            "http://localhost:7072",
            "http://127.0.0.1:7071",
            "https://app.example.evil.example",
            "http://app.example",
            "file://",
            "\u{e9}",
            "http://evil.example@localhost:7071",
            "http://localhost:7071@evil.example",
            "http://localhost:7071/page",
            "http://localhost:7071?page",
            "http://localhost:7071.evil.example",
        ];
        for origin in others {
            let refused = check(&hosts, "localhost:7071", Some(origin)).err();
            assert_eq!(refused, Some(403), "{origin}");
        }
    }
}
