//! The name that was probably meant.

/// The longest name that is compared, in bytes: comparing takes time in proportion to both lengths.
const MAX_LEN: usize = 128;

/// The name most like the wanted one, ignoring case, if one is close: one typing error in every four
/// characters, and one more.
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
    // A name of which every character differs is another name.
    let close = distances.filter(|(distance, _)| *distance <= 1 + length / 4 && *distance < length);
    close.min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_typing_error_is_found_and_another_name_is_not() {
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
