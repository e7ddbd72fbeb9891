//! Durations and sizes as people read and type them: "About an hour", "4.26MB", "512m", "10m30s".

use std::time::Duration;

use crate::template::general;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// A duration in words.
pub(crate) fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let hours = (seconds + HOUR / 2) / HOUR;
    match (seconds, hours) {
        (0, _) => "Less than a second".into(),
        (1, _) => "1 second".into(),
        (2..MINUTE, _) => format!("{seconds} seconds"),
        (MINUTE..120, _) => "About a minute".into(),
        (120..HOUR, _) => format!("{} minutes", seconds / MINUTE),
        (_, 0..=1) => "About an hour".into(),
        (_, 2..48) => format!("{hours} hours"),
        (_, 48..336) => format!("{} days", hours / 24),
        (_, 336..1440) => format!("{} weeks", hours / 24 / 7),
        (_, 1440..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / HOUR / 24 / 365),
    }
}

/// A size in powers of 1000 with so many significant digits.
pub(crate) fn human_size(bytes: i64, digits: usize) -> String {
    scaled(bytes, 1000.0, digits, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// A size in powers of 1024.
pub(crate) fn binary_size(bytes: i64) -> String {
    scaled(bytes, 1024.0, 4, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn scaled(bytes: i64, base: f64, digits: usize, units: &[&str]) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", general(value, Some(digits)), units[unit])
}

/// Bytes out of `512m`, `1.5g`, `64KiB`, `1000`: all powers of 1024.
pub(crate) fn parse_size(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let power = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(invalid()),
    };
    let bytes = number * 1024_f64.powi(power);
    #[expect(clippy::cast_possible_truncation, reason = "checked against the largest")]
    if bytes.is_finite() && bytes < 9.2e18 {
        Ok(bytes as i64)
    } else {
        Err(invalid())
    }
}

/// A Go duration: `1h30m`, `1.5s`, `200ms`; nothing if it is none.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[end..];
    }
    (!text.is_empty())
        .then(|| Duration::try_from_secs_f64(total).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        let day = 24 * HOUR;
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (59 * MINUTE + 59, "59 minutes"),
            (HOUR, "About an hour"),
            (90 * MINUTE - 1, "About an hour"),
            (90 * MINUTE, "2 hours"),
            (47 * HOUR, "47 hours"),
            (2 * day, "2 days"),
            (13 * day, "13 days"),
            (14 * day, "2 weeks"),
            (59 * day, "8 weeks"),
            (60 * day, "2 months"),
            (729 * day, "24 months"),
            (730 * day, "2 years"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(
                human_duration(Duration::from_secs(seconds)),
                expected,
                "{seconds} s"
            );
        }
    }

    #[test]
    fn sizes_have_so_many_digits() {
        let cases = [
            (0, "0B", "0B"),
            (999, "999B", "999B"),
            (1_000, "1kB", "1kB"),
            (4_261_550, "4.26MB", "4.262MB"),
            (123_456_789, "123MB", "123.5MB"),
            (1_234_567_890_123, "1.23TB", "1.235TB"),
        ];
        for (bytes, three, four) in cases {
            assert_eq!(
                (human_size(bytes, 3).as_str(), human_size(bytes, 4).as_str()),
                (three, four)
            );
        }
        assert_eq!(binary_size(8_589_934_592), "8GiB");
    }

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        let cases = [
            ("512m", Some(536_870_912)),
            ("1.5g", Some(1_610_612_736)),
            ("64KiB", Some(65_536)),
            ("1000", Some(1000)),
            ("1 kb", Some(1024)),
            ("zz", None),
            ("-1", None),
            ("", None),
            ("1x", None),
            ("99999999999p", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_size(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let cases = [
            ("1h30m", Some(5400.0)),
            ("1.5s", Some(1.5)),
            ("200ms", Some(0.2)),
            ("0", Some(0.0)),
            ("", None),
            ("10", None),
            ("5x", None),
            ("m", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text).map(|d| d.as_secs_f64()), expected, "{text}");
        }
    }
}
