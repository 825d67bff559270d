//! Units of figures, and how they are formatted.

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanoseconds,
    CallsPerSecond,
    /// 1,048,576 bytes.
    Megabytes,
    /// 1,024 bytes.
    Kilobytes,
    Bytes,
}

/// Every unit with its name in files.
const UNITS: [(Unit, &str); 5] = [
    (Unit::Nanoseconds, "ns"),
    (Unit::CallsPerSecond, "calls/s"),
    (Unit::Megabytes, "MB"),
    (Unit::Kilobytes, "KB"),
    (Unit::Bytes, "bytes"),
];

impl Unit {
    /// The name in files.
    pub(crate) fn as_str(self) -> &'static str {
        UNITS.iter().find(|(unit, _)| *unit == self).map_or("", |(_, name)| name)
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        UNITS.iter().find(|(_, other)| *other == name).map(|(unit, _)| *unit)
    }

    pub(crate) fn is_better_when_more(self) -> bool {
        self == Self::CallsPerSecond
    }

    /// Formats a value with a number of decimals, in the multiple of the unit that is shortest.
    pub(crate) fn figure(self, value: f64, decimals: usize) -> String {
        let scaled = |steps: [(&str, f64); 4]| {
            let step = steps.iter().rev().find(|(_, size)| value >= *size).unwrap_or(&steps[0]);
            format!("{:.decimals$} {}", value / step.1, step.0)
        };
        match self {
            Self::Nanoseconds => scaled([("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)]),
            Self::CallsPerSecond => scaled([("/s", 1.0), ("k/s", 1e3), ("M/s", 1e6), ("G/s", 1e9)]),
            Self::Megabytes | Self::Kilobytes | Self::Bytes => {
                format!("{value:.decimals$} {}", self.as_str())
            }
        }
    }
}

/// Formats a count with thousands separators.
pub(crate) fn count(value: f64) -> String {
    let whole = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_counts_have_commas() {
        assert_eq!(Unit::Nanoseconds.figure(1_234.0, 2), "1.23 us");
        assert_eq!(Unit::CallsPerSecond.figure(2.5e6, 1), "2.5 M/s");
        assert_eq!(Unit::Megabytes.figure(17.0, 2), "17.00 MB");
        assert_eq!([1.0, 999.0, 1e3, 1e6].map(count), ["1", "999", "1,000", "1,000,000"]);
    }

    #[test]
    fn every_unit_is_read_as_it_is_written() {
        for (unit, name) in UNITS {
            assert_eq!((unit.as_str(), Unit::of(name)), (name, Some(unit)));
        }
    }
}
