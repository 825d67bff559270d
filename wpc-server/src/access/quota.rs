//! Quotas of tokens: calls, fuel and time per unit of time, and concurrent calls.
//!
//! A quota is a leaky bucket: usage decreases at the rate of the quota. With fixed windows, a client could use its quota
//! twice around the edge of a window. The fuel and time of a call are known only when it ends. They are added then, and may
//! exceed the quota; further calls are refused until the usage has decreased enough. (The crate `governor` cannot add more
//! than the quota.)

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The quotas of a token. `None` is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Quota {
    /// Calls, such as `100/s`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text")]
    pub calls: Option<Rate>,
    /// Fuel, such as `1000000/min`, including that of calls that fail or are cancelled. Only functions with a fuel limit report fuel.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text")]
    pub fuel: Option<Rate>,
    /// Milliseconds between the submission of a call and its end, such as `30000/min`: an upper bound on the processor time that it used.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "text")]
    pub milliseconds: Option<Rate>,
    /// Concurrent calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

impl Quota {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    /// Sets a limit by its text, such as `calls=100/s` or `concurrency=8`.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn set(&mut self, text: &str) -> Result<(), InvalidQuota> {
        let invalid = || InvalidQuota(text.to_owned());
        let (name, value) = text.split_once('=').ok_or_else(invalid)?;
        let rate = || value.parse().map(Some).map_err(|_| invalid());
        match name {
            "calls" => self.calls = rate()?,
            "fuel" => self.fuel = rate()?,
            "milliseconds" => self.milliseconds = rate()?,
            "concurrency" => {
                let limit = value.parse().ok().filter(|limit| *limit > 0);
                self.concurrency = Some(limit.ok_or_else(invalid)?);
            }
            _ => return Err(invalid()),
        }
        Ok(())
    }
}

/// The text is not a quota.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a quota; expected one such as calls=100/s, fuel=1000000/min, milliseconds=30000/min or concurrency=8"
)]
#[non_exhaustive]
pub struct InvalidQuota(String);

/// An amount in a window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// The amount, at least 1.
    pub amount: u64,
    /// The window: a second, a minute, an hour or a day.
    pub window: Duration,
}

const WINDOWS: [(&str, u64); 4] = [("s", 1), ("min", 60), ("h", 3600), ("d", 86_400)];
/// Amounts up to this one are exact in the arithmetic of a bucket.
const MAX_AMOUNT: u64 = 1 << 52;

impl FromStr for Rate {
    type Err = InvalidQuota;

    fn from_str(text: &str) -> Result<Self, InvalidQuota> {
        let parse = || {
            let (amount, unit) = text.split_once('/')?;
            let (_, seconds) = WINDOWS.iter().find(|(name, _)| *name == unit)?;
            let amount = amount.parse().ok().filter(|amount| (1..=MAX_AMOUNT).contains(amount))?;
            Some(Self { amount, window: Duration::from_secs(*seconds) })
        };
        parse().ok_or_else(|| InvalidQuota(text.to_owned()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = WINDOWS.iter().find(|(_, seconds)| *seconds == self.window.as_secs());
        write!(f, "{}/{}", self.amount, unit.map_or("s", |(name, _)| name))
    }
}

/// Rates as text.
mod text {
    use super::Rate;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(super) fn serialize<S: Serializer>(
        rate: &Option<Rate>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match rate {
            Some(rate) => serializer.collect_str(rate),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Rate>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// The current usage of a rate.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    used: f64,
    /// The time of `used`, since the quota's state was created.
    at: Duration,
}

#[expect(clippy::cast_precision_loss, reason = "amounts are below 2^52")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
impl Bucket {
    fn used(&self, rate: Rate, now: Duration) -> f64 {
        let outflow = rate.amount as f64 / rate.window.as_secs_f64();
        let elapsed = now.saturating_sub(self.at).as_secs_f64();
        (self.used - outflow * elapsed).max(0.0)
    }

    /// Whether `needed` more may be used; otherwise the time until then.
    pub(super) fn check(&self, rate: Rate, needed: u64, now: Duration) -> Result<(), Duration> {
        let excess = self.used(rate, now) + needed as f64 - rate.amount as f64;
        if excess <= 1e-9 {
            return Ok(());
        }
        let seconds = excess / rate.amount as f64 * rate.window.as_secs_f64();
        // Bounded, because `Duration::from_secs_f64` panics if the value is too large for a `Duration`.
        Err(Duration::from_secs_f64(seconds.min(1e9)))
    }

    /// Adds usage.
    pub(super) fn add(&mut self, rate: Rate, used: u64, now: Duration) {
        // Bounded, so that a mistake of one call cannot lock a token out for ever.
        let most = 2.0 * rate.amount as f64;
        let before = self.used(rate, now);
        *self = Self { used: (before + used as f64).min(most.max(before)), at: now };
    }

    /// How much may be used now.
    pub(super) fn remaining(&self, rate: Rate, now: Duration) -> u64 {
        (rate.amount as f64 - self.used(rate, now) + 1e-9).clamp(0.0, rate.amount as f64) as u64
    }

    /// When the whole amount may be used again.
    pub(super) fn reset(&self, rate: Rate, now: Duration) -> Duration {
        let seconds = self.used(rate, now) / rate.amount as f64 * rate.window.as_secs_f64();
        Duration::from_secs_f64(seconds.min(1e9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn a_quota_is_read_from_its_text_and_written() {
        for text in ["1/s", "100/min", "5/h", "1000000/d"] {
            assert_eq!(rate(text).to_string(), text);
        }
        for text in ["", "1", "0/s", "-1/s", "1/year", "1.5/s", "1/ s", "99999999999999999999/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        let mut quota = Quota::default();
        quota.set("calls=100/s").unwrap();
        quota.set("concurrency=8").unwrap();
        let json = serde_json::to_string(&quota).unwrap();
        assert_eq!(json, r#"{"calls":"100/s","concurrency":8}"#);
        assert_eq!(serde_json::from_str::<Quota>(&json).unwrap(), quota);
        for text in ["calls", "calls=", "concurrency=0", "cpu=1/s"] {
            assert!(quota.set(text).is_err(), "{text}");
        }
    }

    #[test]
    fn usage_decreases_at_the_rate() {
        let (rate, mut bucket) = (rate("10/s"), Bucket::default());
        for _ in 0..10 {
            bucket.check(rate, 1, seconds(1)).unwrap();
            bucket.add(rate, 1, seconds(1));
        }
        let wait = bucket.check(rate, 1, seconds(1)).unwrap_err();
        assert!((90..=110).contains(&wait.as_millis()), "{wait:?}");
        let later = seconds(1) + Duration::from_millis(500);
        assert_eq!(bucket.remaining(rate, later), 5);
        assert_eq!(bucket.reset(rate, later), Duration::from_millis(500));
        assert_eq!(bucket.remaining(rate, seconds(100)), 10);
    }

    #[test]
    fn a_cost_beyond_the_quota_is_a_debt_of_at_most_one_window() {
        let (rate, mut bucket) = (rate("100/s"), Bucket::default());
        bucket.add(rate, u64::MAX, seconds(0));
        assert_eq!(bucket.check(rate, 0, seconds(0)), Err(seconds(1)));
        bucket.check(rate, 0, seconds(1)).unwrap();
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_is_harmless() {
        let (rate, mut bucket) = (rate("1/s"), Bucket::default());
        bucket.add(rate, 1, seconds(5));
        assert!(bucket.check(rate, 1, seconds(4)).is_err());
    }
}
