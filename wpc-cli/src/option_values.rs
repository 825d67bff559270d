//! How values of options are read. An error states the form that is expected, with an example.

use bytesize::ByteSize;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

/// An IP address with a port.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an IP address with a port of at most 65535, such as `127.0.0.1:7071`; names are not accepted"
            .to_owned()
    })
}

/// A duration with its unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("expected a duration, such as `500ms` or `10s` ({error})"))
}

/// A number of bytes, with or without a unit.
pub(crate) fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| "expected a size, such as `64KiB` or `16MiB`".to_owned())
}

/// A number of items that cannot be zero.
pub(crate) fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a number of at least 1".to_owned())
}

/// The origin of web pages, as browsers state it in `Origin`.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    let authority = text.trim_end_matches('/').split_once("://").map(|(_, authority)| authority);
    let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' ']);
    match authority {
        Some(host) if is_host(host) => Ok(text.to_owned()),
        _ => {
            Err("expected a scheme and a host without a path, such as `https://app.example`"
                .to_owned())
        }
    }
}

/// The name of a server in `Host`; `*` matches any.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text == "*" || (!text.is_empty() && text.chars().all(is_name)) {
        return Ok(text.to_owned());
    }
    Err("expected a name without a scheme and a port, such as `wpc.example`, or `*` for any"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_value_is_reported_with_an_example() {
        for text in ["7071", "localhost:17091", "127.0.0.1:99999"] {
            assert!(address(text).unwrap_err().contains("such as `127.0.0.1:7071`"), "{text}");
        }
        for text in ["x", "10", "1 fortnight"] {
            assert!(duration(text).unwrap_err().contains("such as `500ms`"), "{text}");
        }
        for text in ["lots", "1 fish", "-1"] {
            assert!(size(text).unwrap_err().contains("such as `64KiB`"), "{text}");
        }
        for text in ["foo", "https://", "https://a/b", "https://*.a", "*"] {
            assert!(origin(text).unwrap_err().contains("such as `https://app.example`"), "{text}");
        }
        for text in ["", "http://a", "a:7071", "a/b", "*.a"] {
            assert!(host(text).unwrap_err().contains("such as `wpc.example`"), "{text}");
        }
        for text in ["0", "-1", "many"] {
            assert!(at_least_one(text).unwrap_err().contains("at least 1"), "{text}");
        }
    }

    #[test]
    fn values_are_read() {
        assert_eq!(address("[::1]:0").unwrap().port(), 0);
        assert_eq!(duration("2s").unwrap(), Duration::from_secs(2));
        assert_eq!(size("4KiB").unwrap(), ByteSize(4096));
        for text in ["https://app.example", "http://localhost:3000/", "https://[::1]:1"] {
            assert_eq!(origin(text).unwrap(), text);
        }
        for text in ["*", "wpc.example", "my_host", "10.0.0.1"] {
            assert_eq!(host(text).unwrap(), text);
        }
        assert_eq!(at_least_one("3").unwrap().get(), 3);
    }
}
