//! A moment as the contract shows it: RFC 3339, UTC, milliseconds.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, SecondsFormat, SubsecRound, Timelike, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment, cut to milliseconds so that what is answered equals what is read back later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    pub fn now() -> Self {
        Utc::now().into()
    }

    /// The time since then by this process's clock; zero for what lies ahead of it.
    pub fn elapsed(self) -> Duration {
        (Utc::now() - self.0).to_std().unwrap_or_default()
    }

    pub fn as_datetime(self) -> DateTime<Utc> {
        self.0
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(moment: DateTime<Utc>) -> Self {
        Self(moment.trunc_subsecs(3))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.in_short() {
            Some(digits) => f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?),
            None => f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true)),
        }
    }
}

impl Timestamp {
    /// `2023-11-14T22:13:20.123Z`, by hand, as every entry has one and chrono's own way takes as long as the rest of an
    /// entry. `None`: a year that has not four digits.
    fn in_short(self) -> Option<[u8; 24]> {
        let moment = self.0.naive_utc();
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let year = u32::try_from(moment.year()).ok().filter(|year| *year <= 9_999)?;
        let millis = moment.and_utc().timestamp_subsec_millis().min(999);
        let parts = [
            (0, 4, year),
            (5, 2, moment.month()),
            (8, 2, moment.day()),
            (11, 2, moment.hour()),
            (14, 2, moment.minute()),
            (17, 2, moment.second()),
            (20, 3, millis),
        ];
        for (start, digits, mut number) in parts {
            for place in text.get_mut(start..start + digits)?.iter_mut().rev() {
                *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
                number /= 10;
            }
        }
        Some(text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DateTime::<Utc>::deserialize(deserializer).map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_shown_in_utc_with_milliseconds() {
        let moment = DateTime::from_timestamp(1_700_000_000, 123_456_789).unwrap();
        assert_eq!(serde_json::to_string(&Timestamp::from(moment)).unwrap(), "\"2023-11-14T22:13:20.123Z\"");
    }

    #[test]
    fn a_moment_of_any_year_is_shown_as_chrono_shows_it() {
        // From the year -200 to 20,000, with days, hours and milliseconds of every kind on the way.
        for seconds in (-68_500_000_000_i64..569_000_000_000).step_by(86_461_237) {
            let moment = DateTime::from_timestamp(seconds, (seconds.unsigned_abs() % 1_000_000_007) as u32);
            let Some(moment) = moment.map(Timestamp::from) else { continue };
            assert_eq!(moment.to_string(), moment.0.to_rfc3339_opts(SecondsFormat::Millis, true));
        }
    }
}
