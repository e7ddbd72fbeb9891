//! One line of a log, and whether and how it is shown.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::{BufMut as _, Bytes, BytesMut};
use model::Timestamp;
use serde::Deserialize;
use shim_protocol::stream::{HEADER, StreamKind, header};

use super::LogQuery;

/// As it is in the file.
#[derive(Debug, Deserialize)]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
    time: Timestamp,
}

/// What to do with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Send this.
    Item(Bytes),
    /// It was not asked for.
    Skipped,
    /// It is later than what was asked for, and all that follow are too.
    Past,
}

/// Decides on one line of the file. A line that can't be understood (the disk was full) is skipped.
pub(super) fn show(line: &[u8], query: &LogQuery) -> Shown {
    let Ok(entry) = serde_json::from_slice::<Entry<'_>>(line) else {
        return Shown::Skipped;
    };
    let (kind, wanted) = match entry.stream.as_ref() {
        "stderr" => (StreamKind::Stderr, query.stderr),
        _ => (StreamKind::Stdout, query.stdout),
    };
    if query.until.is_some_and(|until| entry.time > until) {
        return Shown::Past;
    }
    if !wanted || query.since.is_some_and(|since| entry.time < since) {
        return Shown::Skipped;
    }
    let time = if query.timestamps {
        format!("{} ", nine_digits(entry.time))
    } else {
        String::new()
    };
    let details = if query.details {
        format!("{} ", details(&entry.attrs))
    } else {
        String::new()
    };
    let length = time.len() + details.len() + entry.log.len();
    let mut item = BytesMut::with_capacity(HEADER + length);
    if query.framed {
        item.put_slice(&header(kind, u32::try_from(length).unwrap_or(u32::MAX)));
    }
    item.put_slice(time.as_bytes());
    item.put_slice(details.as_bytes());
    item.put_slice(entry.log.as_bytes());
    Shown::Item(item.freeze())
}

/// `key=value,other=value`, written as in a URL's query.
fn details(attrs: &BTreeMap<String, String>) -> String {
    let pairs = attrs
        .iter()
        .map(|(key, value)| format!("{}={}", escaped(key), escaped(value)));
    pairs.collect::<Vec<_>>().join(",")
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            b' ' => escaped.push('+'),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
        escaped
    })
}

/// Times in front of lines stand below each other.
fn nine_digits(time: Timestamp) -> String {
    let text = time.to_string();
    let text = text.trim_end_matches('Z');
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{seconds}.{fraction:0<9}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(query: &LogQuery) -> Shown {
        show(
            br#"{"log":"a\u001b\n","stream":"stderr","time":"2026-01-02T03:04:05.5Z"}"#,
            query,
        )
    }

    #[test]
    fn a_line_is_shown_as_asked() {
        let plain = LogQuery {
            framed: false,
            ..Default::default()
        };
        let item = |bytes: &[u8]| Shown::Item(Bytes::copy_from_slice(bytes));
        let at = |text: &str| Some(text.parse().unwrap());
        let table = [
            (
                "framed",
                LogQuery::default(),
                item(b"\x02\0\0\0\0\0\0\x03a\x1b\n"),
            ),
            ("of_a_terminal", plain.clone(), item(b"a\x1b\n")),
            (
                "with_its_time",
                LogQuery {
                    timestamps: true,
                    ..plain.clone()
                },
                item(b"2026-01-02T03:04:05.500000000Z a\x1b\n"),
            ),
            (
                "of_the_other_stream",
                LogQuery {
                    stderr: false,
                    ..plain.clone()
                },
                Shown::Skipped,
            ),
            (
                "too_early",
                LogQuery {
                    since: at("2026-01-02T03:04:06Z"),
                    ..plain.clone()
                },
                Shown::Skipped,
            ),
            (
                "early_enough",
                LogQuery {
                    since: at("2026-01-02T03:04:05.5Z"),
                    ..plain.clone()
                },
                item(b"a\x1b\n"),
            ),
            (
                "too_late",
                LogQuery {
                    until: at("2026-01-02T03:04:05Z"),
                    ..plain
                },
                Shown::Past,
            ),
        ];
        for (name, query, expected) in table {
            assert_eq!(shown(&query), expected, "{name}");
        }
        let detailed = LogQuery {
            framed: false,
            details: true,
            ..Default::default()
        };
        assert_eq!(shown(&detailed), item(b" a\x1b\n"), "without any");
        let line =
            br#"{"log":"a","stream":"stdout","attrs":{"k":"v w","a":"1,2"},"time":"2026-01-02T03:04:05Z"}"#;
        assert_eq!(show(line, &detailed), item(b"a=1%2C2,k=v+w a"));
        assert_eq!(show(b"{\"log\":\"tor", &LogQuery::default()), Shown::Skipped);
    }
}
