//! Signals by name or number, Linux's numbers on every architecture we run on.

use crate::error::{Error, Result};

const NAMES: [(&str, i32); 33] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// `KILL`, `SIGKILL`, `kill`, `9`, `RTMIN+3`, `RTMAX-1`; empty is `SIGTERM`.
pub(super) fn parse(text: &str) -> Result<i32> {
    if text.is_empty() {
        return Ok(15);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let known = NAMES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number);
    let number = known.or_else(|| real_time(name)).or_else(|| name.parse().ok());
    number
        .filter(|number| (1..=RTMAX).contains(number))
        .ok_or_else(|| {
            Error::invalid(format!("invalid signal: {text}"))
                .with_hint("names such as TERM, KILL or HUP, or numbers, are signals")
        })
}

fn real_time(name: &str) -> Option<i32> {
    let (base, rest, sign) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => (RTMIN, rest.strip_prefix('+').unwrap_or(rest), 1),
        (_, Some(rest)) => (RTMAX, rest.strip_prefix('-').unwrap_or(rest), -1),
        _ => return None,
    };
    let offset: i32 = if rest.is_empty() { 0 } else { rest.parse().ok()? };
    let number = base + sign * offset;
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("", 15),
            ("KILL", 9),
            ("sigkill", 9),
            ("SIGHUP", 1),
            ("9", 9),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(parse(text).expect(text), number, "{text}");
        }
        for bad in ["0", "65", "-1", "NOPE", "SIG", "RTMIN+40", "KILL "] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
