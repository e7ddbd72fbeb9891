//! Points in time: `2013-01-02T13:23:37Z`, `2013-01-02`, `42m` ago, seconds since 1970.

use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, PrimitiveDateTime, macros::format_description};

use crate::units::parse_duration;

/// Resolves to seconds and nanoseconds since 1970, as the API takes them.
pub(crate) fn parse(text: &str, now: Duration) -> Result<String, String> {
    if let Some(ago) = parse_duration(text) {
        let then = now.saturating_sub(ago);
        return Ok(format!("{}.{:09}", then.as_secs(), then.subsec_nanos()));
    }
    let number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if number && text.parse::<f64>().is_ok() {
        return Ok(text.to_owned());
    }
    let time = date_time(text).ok_or_else(|| {
        format!("{text:?} is no time: write 2013-01-02T13:23:37Z, 42m, or seconds since 1970")
    })?;
    Ok(format!("{}.{:09}", time.unix_timestamp(), time.nanosecond()))
}

fn date_time(text: &str) -> Option<OffsetDateTime> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(time);
    }
    let seconds = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    let minutes = format_description!("[year]-[month]-[day]T[hour]:[minute]");
    let day = format_description!("[year]-[month]-[day]");
    let local = PrimitiveDateTime::parse(text, seconds).or_else(|_| PrimitiveDateTime::parse(text, minutes));
    let time = local
        .ok()
        .or_else(|| Date::parse(text, day).ok().map(Date::midnight));
    time.map(PrimitiveDateTime::assume_utc)
}

/// The text of a moment as a program prints it: `2024-05-01T10:20:30.123456789Z`.
pub(crate) fn precise(nanoseconds: i64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into())
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_default()
}

/// The text of a moment as Go prints it: `2024-05-01 10:20:30 +0000 UTC`.
pub(crate) fn plain(seconds: i64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] +0000 UTC");
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_or_so_long_ago() {
        let now = Duration::from_secs(1_000_000);
        let cases = [
            ("10m", Some("999400.000000000")),
            ("1.5s", Some("999998.500000000")),
            ("1357133017", Some("1357133017")),
            ("2013-01-02T13:23:37Z", Some("1357133017.000000000")),
            ("2013-01-02T13:23:37.5Z", Some("1357133017.500000000")),
            ("2013-01-02T14:23:37+01:00", Some("1357133017.000000000")),
            ("2013-01-02T13:23:37", Some("1357133017.000000000")),
            ("2013-01-02", Some("1357084800.000000000")),
            ("yesterday", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, now).ok().as_deref(), expected, "{text}");
        }
        assert_eq!(
            precise(1_714_558_830_123_456_789),
            "2024-05-01T10:20:30.123456789Z"
        );
        assert_eq!(plain(1_700_000_000), "2023-11-14 22:13:20 +0000 UTC");
    }
}
