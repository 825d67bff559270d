//! Media types of bodies and responses, and the choice of one by the header `Accept`.

use crate::accept;
use crate::problem::{Problem, ServerCode};
use axum::http::{HeaderMap, HeaderValue, header};

/// A format in which arguments are read or responses are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Text,
    Bytes,
    Postcard,
    EventStream,
    JsonLines,
    NdJson,
}

impl Media {
    /// Every format, in the order of the server's preference.
    const ALL: [Self; 7] = [
        Self::Json,
        Self::Text,
        Self::Bytes,
        Self::Postcard,
        Self::EventStream,
        Self::JsonLines,
        Self::NdJson,
    ];

    /// Its type and subtype.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => ("application", "json"),
            Self::Text => ("text", "plain"),
            Self::Bytes => ("application", "octet-stream"),
            Self::Postcard => ("application", "vnd.postcard"),
            Self::EventStream => ("text", "event-stream"),
            Self::JsonLines => ("application", "jsonl"),
            Self::NdJson => ("application", "x-ndjson"),
        }
    }

    /// Whether it is a format for items.
    pub(super) const fn is_stream(self) -> bool {
        matches!(self, Self::EventStream | Self::JsonLines | Self::NdJson)
    }

    /// The header `Content-Type` of a response.
    pub(super) const fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
            Self::Bytes => "application/octet-stream",
            Self::Postcard => "application/vnd.postcard",
            Self::EventStream => "text/event-stream",
            Self::JsonLines => "application/jsonl",
            Self::NdJson => "application/x-ndjson",
        })
    }

    /// The format of the body, JSON without a content type.
    pub(super) fn of_body(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(header) = headers.get(header::CONTENT_TYPE) else { return Ok(Self::Json) };
        let text = header.to_str().unwrap_or_default();
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        let found = Self::of_range(essence.trim());
        let found = found.filter(|media| {
            matches!(media, Self::Json | Self::Text | Self::Bytes | Self::Postcard)
        });
        let found = found.filter(|media| *media != Self::Text || is_utf8(parameters));
        found.ok_or_else(|| {
            let detail = format!(
                "expected application/json, text/plain in UTF-8, application/octet-stream or \
                 application/vnd.postcard, found {text:?}"
            );
            Problem::new(ServerCode::UnsupportedMediaType, detail)
        })
    }

    /// The format with exactly this name.
    fn of_range(range: &str) -> Option<Self> {
        let (kind, subtype) = range.split_once('/')?;
        Self::ALL.into_iter().find(|media| {
            let (own_kind, own_subtype) = media.names();
            own_kind.eq_ignore_ascii_case(kind) && own_subtype.eq_ignore_ascii_case(subtype)
        })
    }

    /// The response format that the client prefers among those in which the function can answer: the one with the highest quality.
    /// Among equals it is the one that the client names most specifically, and then the one that it names first. Without the header it is
    /// JSON. If the function can answer in none of them, it is the one that the client prefers, and the call is refused.
    pub(super) fn accepted(
        headers: &HeaderMap,
        can_answer: impl Fn(Self) -> bool,
    ) -> Result<Self, Problem> {
        let mut values = headers.get_all(header::ACCEPT).iter();
        let (first, others) = (values.next(), values);
        match first.map(HeaderValue::as_bytes) {
            None => return Ok(Self::Json),
            Some(b"*/*" | b"application/json") if others.size_hint().1 == Some(0) => {
                return Ok(Self::Json);
            }
            Some(_) => {}
        }
        let found = |media: Self| {
            let (kind, subtype) = media.names();
            Some((media, accept::best(headers, kind, subtype)?))
        };
        let mut accepted: Vec<_> = Self::ALL.into_iter().filter_map(found).collect();
        // Stable, so that equals keep the order of the server's preference.
        accepted.sort_by_key(|(_, found)| std::cmp::Reverse(found.rank()));
        let best = match accepted.as_slice() {
            [] => None,
            [(only, _)] => Some(*only),
            [(preferred, _), ..] => {
                let answered =
                    accepted.iter().map(|(media, _)| *media).find(|media| can_answer(*media));
                Some(answered.unwrap_or(*preferred))
            }
        };
        best.ok_or_else(|| {
            let names = Self::ALL.map(|media| {
                let (kind, subtype) = media.names();
                format!("{kind}/{subtype}")
            });
            let detail = format!("the result can be one of: {}", names.join(", "));
            Problem::new(ServerCode::NotAcceptable, detail)
        })
    }
}

/// Whether the parameters of `text/plain` name no character set other than UTF-8.
fn is_utf8(parameters: &str) -> bool {
    parameters.split(';').filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
        !name.trim().eq_ignore_ascii_case("charset")
            || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(values: &[&str]) -> Option<Media> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        Media::accepted(&headers, |_| true).ok()
    }

    #[test]
    fn a_format_in_which_the_function_cannot_answer_is_chosen_only_if_no_other_is_accepted() {
        let mut headers = HeaderMap::new();
        for (value, chosen) in [
            ("text/plain, application/json;q=0.5", Media::Json),
            ("text/*, */*;q=0.1", Media::EventStream),
            ("application/octet-stream, */*;q=0.1", Media::Json),
            ("text/event-stream;q=0.1, text/plain", Media::EventStream),
            ("text/plain, application/octet-stream", Media::Text),
            ("text/plain", Media::Text),
        ] {
            headers.insert(header::ACCEPT, value.parse().unwrap());
            let accepted =
                Media::accepted(&headers, |media| !matches!(media, Media::Text | Media::Bytes));
            assert_eq!(accepted.ok(), Some(chosen), "{value}");
        }
    }

    #[test]
    fn the_format_with_the_highest_quality_is_chosen() {
        for (values, chosen) in [
            ([].as_slice(), Some(Media::Json)),
            (&["*/*"], Some(Media::Json)),
            (&["Application/JSON"], Some(Media::Json)),
            (&["application/*"], Some(Media::Json)),
            (&["text/*"], Some(Media::Text)),
            (&["application/json;q=0.5, application/octet-stream"], Some(Media::Bytes)),
            (&["application/json;q=0.5, application/octet-stream;q=0.4"], Some(Media::Json)),
            (&["application/octet-stream, application/json"], Some(Media::Bytes)),
            (&["text/event-stream, */*"], Some(Media::EventStream)),
            (&["application/json; q=0, */*; q=0.1"], Some(Media::Text)),
            (&["image/png", "application/x-ndjson"], Some(Media::NdJson)),
            (&["application/json;q=0"], None),
            (&["image/png"], None),
            (&["", "nonsense"], None),
            (&["application/json;q=1.5, application/json;q=-1, application/json;q=0.1234"], None),
        ] {
            assert_eq!(accepted(values), chosen, "{values:?}");
        }
    }

    #[test]
    fn text_is_read_in_utf8_only() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            Media::of_body(&headers).ok()
        };
        assert_eq!(of("application/json; charset=utf-8"), Some(Media::Json));
        assert_eq!(of("text/plain"), Some(Media::Text));
        assert_eq!(of("text/plain; charset=\"UTF-8\""), Some(Media::Text));
        assert_eq!(of("text/plain; charset=latin1"), None);
        assert_eq!(of("text/event-stream"), None);
        assert_eq!(of("text"), None);
    }
}
