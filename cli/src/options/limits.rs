//! Limits: sizes, processors, ulimits, restart policies.

use api_types::{RestartPolicy, Ulimit};

use crate::units;

/// A size, or `-1` for none at all.
pub(crate) fn size_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" {
        Ok(-1)
    } else {
        units::parse_size(text)
    }
}

/// `1.5` processors, in billionths.
pub(crate) fn processors(text: &str) -> Result<i64, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| format!("{text:?} is no number of processors"))?;
    let billionths = number * 1e9;
    if !(0.0..=9e18).contains(&billionths) {
        return Err(format!("{text:?} is no number of processors"));
    }
    if number > 0.0 && billionths < 1.0 {
        return Err(format!(
            "{text:?} has too many digits: a billionth of a processor is the smallest step"
        ));
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to fit")]
    Ok(billionths.round() as i64)
}

const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `nofile=1024:2048`, `core=unlimited`.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, values) = text
        .split_once('=')
        .ok_or_else(|| format!("invalid ulimit {text:?}: write NAME=SOFT[:HARD]"))?;
    if !ULIMITS.contains(&name) {
        return Err(format!(
            "unknown ulimit {name:?}; there are {}",
            ULIMITS.join(", ")
        ));
    }
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (ulimit_value(soft)?, ulimit_value(hard)?);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(format!("the soft limit of {text:?} is above the hard one"));
    }
    Ok(Ulimit {
        name: name.to_owned(),
        hard,
        soft,
    })
}

fn ulimit_value(text: &str) -> Result<i64, String> {
    if matches!(text, "unlimited" | "-1") {
        return Ok(-1);
    }
    text.parse()
        .ok()
        .filter(|value| *value >= 0)
        .ok_or_else(|| format!("invalid ulimit value {text:?}"))
}

/// `no`, `always`, `unless-stopped`, `on-failure[:N]`.
pub(crate) fn restart_policy(text: &str) -> Result<RestartPolicy, String> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => {
            let count = count.parse::<i64>().ok().filter(|count| *count >= 0);
            (
                name,
                Some(
                    count
                        .ok_or_else(|| format!("the retry count of restart policy {text:?} is no number"))?,
                ),
            )
        }
        None => (text, None),
    };
    match (name, count) {
        ("" | "no" | "always" | "unless-stopped", None) | ("on-failure", _) => {}
        ("no" | "always" | "unless-stopped", Some(_)) => {
            return Err(format!(
                "restart policy {name:?} takes no retry count; only on-failure does"
            ));
        }
        _ => {
            return Err(format!(
                "unknown restart policy {name:?}; there are no, always, unless-stopped, on-failure[:N]"
            ));
        }
    }
    let name = if name.is_empty() { "no" } else { name };
    Ok(RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count: count.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_in_billionths() {
        let cases = [
            ("1", Some(1_000_000_000)),
            ("1.5", Some(1_500_000_000)),
            ("0.000000001", Some(1)),
            ("0", Some(0)),
        ];
        for (text, expected) in cases {
            assert_eq!(processors(text).ok(), expected, "{text}");
        }
        for text in ["abc", "-1", "0.0000000001", "1e30", "NaN"] {
            assert!(processors(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ulimits_have_a_soft_and_a_hard_value() {
        let read = |text| ulimit(text).map(|limit| (limit.soft, limit.hard)).ok();
        assert_eq!(read("nofile=1024:2048"), Some((1024, 2048)));
        assert_eq!(read("nofile=1024"), Some((1024, 1024)));
        assert_eq!(read("core=unlimited"), Some((-1, -1)));
        assert_eq!(read("core=0:-1"), Some((0, -1)));
        for text in [
            "nofile",
            "bogus=1",
            "nofile=2:1",
            "nofile=x",
            "nofile=-1:5",
            "nofile=-2",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn only_on_failure_counts_retries() {
        let read = |text| {
            restart_policy(text)
                .map(|policy| (policy.name, policy.maximum_retry_count))
                .ok()
        };
        assert_eq!(read("always"), Some(("always".into(), 0)));
        assert_eq!(read("on-failure:3"), Some(("on-failure".into(), 3)));
        assert_eq!(read("on-failure"), Some(("on-failure".into(), 0)));
        assert_eq!(read(""), Some(("no".into(), 0)));
        for text in ["always:3", "on-failure:x", "on-failure:-1", "sometimes"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
