//! The header `Accept`: which media types a client accepts, and which of them it prefers.

use axum::http::{HeaderMap, header};

/// The most specific range that names the media type; `None` if the client does not accept it.
pub(crate) fn best(headers: &HeaderMap, kind: &str, subtype: &str) -> Option<Match> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(',')).filter_map(Range::parse);
    let mut best = None::<Match>;
    for (position, range) in ranges.enumerate() {
        let Some(specificity) = range.specificity(kind, subtype) else { continue };
        if best.is_none_or(|best| best.specificity < specificity) {
            best = Some(Match { quality: range.quality, specificity, position });
        }
    }
    best.filter(|best| best.quality > 0)
}

/// Whether the client prefers one media type to another. It does not if it does not state any.
pub(crate) fn prefers(headers: &HeaderMap, one: (&str, &str), other: (&str, &str)) -> bool {
    let rank = |(kind, subtype)| best(headers, kind, subtype).map(Match::rank);
    rank(one) > rank(other)
}

/// The range of the header that applies to a media type.
#[derive(Clone, Copy)]
pub(crate) struct Match {
    /// In thousandths.
    quality: u16,
    specificity: u8,
    position: usize,
}

impl Match {
    /// Higher is better.
    pub(crate) fn rank(self) -> (u16, u8, usize) {
        (self.quality, self.specificity, usize::MAX - self.position)
    }
}

/// An element of the header, such as `text/*;q=0.5`.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    /// `None` for an element that does not follow the grammar, which is ignored.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut quality = 1000;
        for parameter in parts {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("q")
            {
                quality = thousandths(value.trim())?;
            }
        }
        Some(Self { kind, subtype, quality })
    }

    /// How specifically it names the media type; `None` if it does not.
    fn specificity(&self, kind: &str, subtype: &str) -> Option<u8> {
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (own, "*") if own.eq_ignore_ascii_case(kind) => Some(1),
            (own, sub) if own.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) => {
                Some(2)
            }
            _ => None,
        }
    }
}

/// A quality from 0 to 1 with at most three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_valid = decimals.len() <= 3 && decimals.bytes().all(|digit| digit.is_ascii_digit());
    let decimals: u16 =
        if is_valid { format!("{decimals:0<3}").parse().ok()? } else { return None };
    match (whole, decimals) {
        ("0", decimals) => Some(decimals),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_type_has_the_higher_quality_or_is_named_more_specifically_or_first() {
        let mut headers = HeaderMap::new();
        let json = ("application", "json");
        assert!(!prefers(&headers, json, ("text", "plain")), "without the header");
        for (accept, expected) in [
            ("application/json", true),
            ("application/json, text/plain;q=0.5", true),
            ("application/json, text/plain", true),
            ("application/json;q=0.1", true),
            ("text/plain, application/json;q=0.5", false),
            ("text/plain, application/json", false),
            ("*/*", false),
            ("*/*, application/json", true),
            ("application/json;q=0, */*", false),
            ("image/png", false),
        ] {
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(prefers(&headers, json, ("text", "plain")), expected, "{accept}");
        }
    }
}
