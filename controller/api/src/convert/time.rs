//! Moments as clients write them: RFC 3339, seconds since 1970 with a fraction, or a time before now.

use std::time::Duration;

use model::Timestamp;

use crate::status::Refusal;

/// Reads `2026-11-21T09:00:00Z`, `1700000000.123456789`, `10m` (before now); `0` and nothing are no moment.
pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    seconds(text)
        .or_else(|| text.parse().ok())
        .or_else(|| before(text, now))
        .map(Some)
        .ok_or_else(|| {
            Refusal::bad_request(format!(
                "invalid time {text:?}: RFC 3339, seconds since 1970 or a time such as 10m are wanted"
            ))
        })
}

fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    Some(Timestamp::from_unix_nanos(
        whole
            .parse::<i64>()
            .ok()?
            .checked_mul(1_000_000_000)?
            .checked_add(nanos)?,
    ))
}

/// Go's durations: `1h30m`, `90s`, `1.5h`.
fn before(text: &str, now: Timestamp) -> Option<Timestamp> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let units = &rest[digits..];
        let end = units.find(|c: char| c.is_ascii_digit()).unwrap_or(units.len());
        total += number
            * match &units[..end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &units[end..];
    }
    let ago = Duration::try_from_secs_f64(total).ok()?;
    Some(Timestamp::from_unix_nanos(
        now.unix_nanos()
            .checked_sub(i64::try_from(ago.as_nanos()).ok()?)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_in_three_forms() {
        let now = Timestamp::from_unix_nanos(10_000_000_000_000);
        let nanos = |text| parse(text, now).expect(text).map(Timestamp::unix_nanos);
        assert_eq!(nanos(""), None);
        assert_eq!(nanos("0"), None);
        assert_eq!(nanos("12"), Some(12_000_000_000));
        assert_eq!(nanos("12.5"), Some(12_500_000_000));
        assert_eq!(nanos("1970-01-01T00:00:01Z"), Some(1_000_000_000));
        assert_eq!(nanos("1h30m"), Some((10_000 - 5400) * 1_000_000_000));
        for bad in ["soon", "1x", "12.1234567890", "-1"] {
            assert!(parse(bad, now).is_err(), "{bad}");
        }
    }
}
