//! Times in UTC with millisecond precision, and the clocks that give them (contract, G8).

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// A moment in UTC, in whole milliseconds since 1970-01-01T00:00:00Z.
///
/// It is written in RFC 3339 with exactly three decimals, so that the order of the texts is the
/// order of the moments. Years 0000 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest: 0000-01-01T00:00:00.000Z.
    pub const MIN: Self = Self(-62_167_219_200_000);
    /// The latest: 9999-12-30T22:00:00.000Z, the end of what time libraries represent.
    pub const MAX: Self = Self(253_402_207_200_000);

    /// The moment `millis` milliseconds after 1970; `InvalidInput` outside years 0000 to 9999.
    pub fn from_millis(millis: i64) -> Result<Self> {
        if (Self::MIN.0..=Self::MAX.0).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(Error::invalid_input(format!(
                "{millis} ms since 1970 is outside years 0000 to 9999"
            )))
        }
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment plus `duration`, rounded up to a millisecond and capped at [`Timestamp::MAX`].
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis).min(Self::MAX.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    /// Reads RFC 3339 with an offset; digits past the millisecond are cut.
    fn from_str(text: &str) -> Result<Self> {
        let moment: jiff::Timestamp = text.parse().map_err(|_| {
            Error::invalid_input(format!("{text:?} is not a time"))
                .with_hint("write it as RFC 3339 with an offset, as in 2026-11-22T20:31:00.000Z")
        })?;
        Self::from_millis(moment.as_millisecond())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Gives the time. A store's clock is the store's own; this one is for drivers in this process and
/// for tests (G8).
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(Timestamp::MAX.0))
    }
}

/// A clock that moves only when told to: for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Moves the clock forward, rounding up to a millisecond.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX);
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_milliseconds_and_order() {
        for millis in [Timestamp::MIN.0, -1, 0, 1, 1_795_380_660_120, Timestamp::MAX.0] {
            let moment = Timestamp::from_millis(millis).unwrap();
            assert_eq!(moment.to_string().len(), 24, "{moment}");
            assert_eq!(moment.to_string().parse::<Timestamp>().unwrap(), moment);
        }
        assert!(Timestamp::MIN.to_string() < Timestamp::default().to_string());
    }

    #[test]
    fn an_offset_is_converted_to_utc() {
        let moment: Timestamp = "2026-11-22T21:31:00.1239+01:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2026-11-22T20:31:00.123Z");
    }

    #[test]
    fn what_is_no_time_is_refused_with_a_hint() {
        let error = "yesterday".parse::<Timestamp>().unwrap_err();
        assert!(error.hint().unwrap().contains("RFC 3339"));
    }
}
