//! Moments, as Docker writes them: RFC 3339 in UTC with nanoseconds.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A moment in UTC, to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// Docker's "never": the first second of year 1.
    pub const ZERO: Self = Self(time::macros::datetime!(0001-01-01 0:00 UTC));

    /// The moment of a system clock reading.
    pub fn from_system(moment: SystemTime) -> Self {
        Self(moment.into())
    }

    /// Reads the system clock.
    pub fn now() -> Self {
        Self::from_system(SystemTime::now())
    }

    /// Seconds since 1970-01-01 UTC; negative before.
    pub const fn unix_seconds(self) -> i64 {
        self.0.unix_timestamp()
    }

    /// Nanoseconds since 1970-01-01 UTC, at the limits of 64 bits cut off.
    pub fn unix_nanos(self) -> i64 {
        self.0
            .unix_timestamp_nanos()
            .clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// The moment so many nanoseconds after 1970-01-01 UTC.
    pub fn from_unix_nanos(nanos: i64) -> Self {
        Self(OffsetDateTime::from_unix_timestamp_nanos(nanos.into()).unwrap_or(OffsetDateTime::UNIX_EPOCH))
    }

    /// The moment so much later; the last one there is, if that is too late.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        let time = time::Duration::try_from(time).unwrap_or(time::Duration::MAX);
        Self(self.0.saturating_add(time))
    }

    /// Time from `earlier` to this; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        (self.0 - earlier.0).try_into().unwrap_or_default()
    }
}

impl FromStr for Timestamp {
    type Err = time::error::Parse;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        OffsetDateTime::parse(text, &Rfc3339).map(|moment| Self(moment.to_offset(time::UtcOffset::UTC)))
    }
}
impl TryFrom<String> for Timestamp {
    type Error = time::error::Parse;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
impl From<Timestamp> for String {
    fn from(moment: Timestamp) -> String {
        moment.to_string()
    }
}
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_reads_as_docker_writes_it() {
        assert_eq!(Timestamp::ZERO.to_string(), "0001-01-01T00:00:00Z");
        let now = Timestamp::now();
        assert_eq!(now.to_string().parse(), Ok(now));
    }
}
