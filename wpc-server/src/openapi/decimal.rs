//! Patterns of the decimal numbers of 128 bits.

/// A pattern of the numbers from 0 to the largest one of 128 bits.
pub(super) fn unsigned() -> String {
    format!("^(0|{})$", up_to(u128::MAX))
}

/// A pattern of the numbers from the smallest signed one of 128 bits to the largest.
pub(super) fn signed() -> String {
    // The smallest one has no positive counterpart.
    format!("^(0|-?(?:{})|{})$", up_to(i128::MAX.unsigned_abs()), i128::MIN)
}

/// A pattern of the numbers from 1 to `largest`, which has several digits.
fn up_to(largest: u128) -> String {
    let digits = largest.to_string();
    let shorter = digits.len() - 2;
    format!("[1-9][0-9]{{0,{shorter}}}|{}", of_length(digits.as_bytes(), b'1'))
}

/// A pattern of the numbers with as many digits as `largest`, and not larger. The first digit is at least `least`.
fn of_length(largest: &[u8], least: u8) -> String {
    let Some((&first, others)) = largest.split_first() else { return String::new() };
    let equal = format!("{}{}", char::from(first), of_length(others, b'0'));
    if first <= least {
        return equal;
    }
    let (least, below) = (char::from(least), char::from(first - 1));
    let class = if least == below { least.to_string() } else { format!("[{least}-{below}]") };
    match others.len() {
        0 => format!("[{least}-{}]", char::from(first)),
        count => format!("(?:{class}[0-9]{{{count}}}|{equal})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pattern_is_exact_for_each_digit() {
        assert_eq!(up_to(10), "[1-9][0-9]{0,0}|10");
        assert_eq!(up_to(340), "[1-9][0-9]{0,1}|(?:[1-2][0-9]{2}|3(?:[0-3][0-9]{1}|40))");
        assert_eq!(up_to(27), "[1-9][0-9]{0,0}|(?:1[0-9]{1}|2[0-7])");
    }

    /// The text without its first alternative, which is that of shorter numbers.
    fn longest(pattern: &str, prefix: &str, suffix: &str) -> String {
        let (_, longest) = pattern.split_once("{0,37}|").unwrap();
        format!("{prefix}{}", longest.strip_suffix(suffix).unwrap())
    }

    proptest! {
        #[test]
        fn every_number_of_39_digits_that_a_pattern_admits_has_128_bits(
            unsigned in proptest::string::string_regex(&longest(&unsigned(), "", ")$")).unwrap(),
            signed in proptest::string::string_regex(
                &longest(&signed(), "-?(?:", &format!("|{})$", i128::MIN)),
            ).unwrap(),
        ) {
            prop_assert!(unsigned.len() == 39 && unsigned.parse::<u128>().is_ok(), "{unsigned}");
            prop_assert!(signed.parse::<i128>().is_ok(), "{signed}");
        }
    }
}
