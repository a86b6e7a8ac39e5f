//! Points in time and lengths of time: UTC, whole seconds.
//!
//! Every wait in this program is hours or days long, so a second is fine enough, and whole seconds make every
//! stored time compare and print the same everywhere (RFC 3339 with `Z`).

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time: UTC, whole seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

/// A length of time in whole seconds, never negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(u64);

/// A time or a span that could not be read, with what was seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{seen}` is not {wanted}")]
pub struct TimeError {
    seen: String,
    wanted: &'static str,
}

impl Time {
    pub const fn from_unix(seconds: i64) -> Self {
        Time(seconds)
    }

    pub const fn unix(self) -> i64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    pub fn since(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    /// The calendar date and the time of day, for selectors and for people.
    pub fn utc(self) -> DateTime<chrono::Utc> {
        DateTime::from_timestamp(self.0, 0).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

impl Span {
    pub const ZERO: Span = Span(0);

    pub const fn seconds(n: u64) -> Self {
        Span(n)
    }

    pub const fn minutes(n: u64) -> Self {
        Span(n * 60)
    }

    pub const fn hours(n: u64) -> Self {
        Span(n * 3600)
    }

    pub const fn days(n: u64) -> Self {
        Span(n * 86400)
    }

    pub const fn as_secs(self) -> u64 {
        self.0
    }
}

impl Add<Span> for Time {
    type Output = Time;

    fn add(self, span: Span) -> Time {
        Time(self.0.saturating_add(i64::try_from(span.0).unwrap_or(i64::MAX)))
    }
}

impl Sub<Span> for Time {
    type Output = Time;

    fn sub(self, span: Span) -> Time {
        Time(self.0.saturating_sub(i64::try_from(span.0).unwrap_or(i64::MAX)))
    }
}

impl Add for Span {
    type Output = Span;

    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.utc().to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        DateTime::parse_from_rfc3339(text)
            .map(|t| Time(t.timestamp()))
            .map_err(|_| TimeError { seen: text.to_owned(), wanted: "a time such as 2026-11-22T09:30:00Z" })
    }
}

/// `30d`, `1h30m`, `45s`: the largest units first, `0s` for nothing.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, size) in [("d", 86400), ("h", 3600), ("m", 60), ("s", 1)] {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Span {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let bad = || TimeError { seen: text.to_owned(), wanted: "a length of time such as 30d, 12h, 1h30m or 90s" };
        let mut total: u64 = 0;
        let mut digits = String::new();
        for c in text.trim().chars() {
            if c.is_ascii_digit() {
                digits.push(c);
                continue;
            }
            let size = match c {
                'w' => 7 * 86400,
                'd' => 86400,
                'h' => 3600,
                'm' => 60,
                's' => 1,
                _ => return Err(bad()),
            };
            let count: u64 = digits.parse().map_err(|_| bad())?;
            total = count.checked_mul(size).and_then(|n| total.checked_add(n)).ok_or_else(bad)?;
            digits.clear();
        }
        if !digits.is_empty() || text.trim().is_empty() {
            return Err(bad());
        }
        Ok(Span(total))
    }
}

macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(crate) use serde_as_text;

serde_as_text!(Time, Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_back_as_they_print() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("1h30m", 5400), ("30d", 2_592_000), ("2w", 1_209_600)] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.as_secs(), seconds, "{text}");
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
        for bad in ["", "30", "d", "3 d", "-1d", "1y", "99999999999999999999d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?} must not parse");
        }
    }

    #[test]
    fn times_are_utc_and_whole_seconds() {
        let time: Time = "2026-11-22T10:30:00+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-22T09:30:00Z");
        assert_eq!((time + Span::days(30)).to_string(), "2026-12-22T09:30:00Z");
        assert_eq!(time.since(time + Span::days(1)), Span::ZERO);
    }
}
