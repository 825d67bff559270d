//! Suggestions for misspelt names.

/// The maximum length of compared names in bytes, because a comparison takes time proportional to the product of both
/// lengths.
const MAX_LEN: usize = 128;

/// The name with the smallest edit distance to `wanted`, ignoring case, if the distance is at most one plus a quarter
/// of the length.
pub(crate) fn nearest<'a>(
    wanted: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if wanted.len() > MAX_LEN {
        return None;
    }
    let wanted = wanted.to_lowercase();
    let length = wanted.chars().count();
    let names = names.into_iter().filter(|name| name.len() <= MAX_LEN);
    let distances =
        names.map(|name| (strsim::damerau_levenshtein(&wanted, &name.to_lowercase()), name));
    // A name in which every character differs is not a misspelling.
    let close = distances.filter(|(distance, _)| *distance <= 1 + length / 4 && *distance < length);
    close.min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_few_typing_errors_are_suggested() {
        let names = ["add", "subtract", "get-answer", "GetAll", "x"];
        for (wanted, meant) in [
            ("ad", Some("add")),
            ("adn", Some("add")),
            ("dad", Some("add")),
            ("substract", Some("subtract")),
            ("get_answer", Some("get-answer")),
            ("getall", Some("GetAll")),
            ("y", None),
            ("", None),
            ("multiply", None),
        ] {
            assert_eq!(nearest(wanted, names), meant, "{wanted}");
        }
        assert_eq!(nearest(&"a".repeat(1_000_000), names), None);
    }
}
