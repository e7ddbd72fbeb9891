//! Exit statuses that scripts rely on: 125 when the daemon failed, 126 when a command could not be executed, 127
//! when there is none.

use std::process::ExitCode;

/// The daemon, not the command, failed.
pub(crate) const DAEMON: u8 = 125;

/// What a refusal to start means.
pub(crate) fn of_start_failure(message: &str) -> u8 {
    let says = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    if says(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file",
    ]) {
        return 127;
    }
    if says(&[
        "permission denied",
        "is a directory",
        "not a directory",
        "exec format error",
    ]) {
        return 126;
    }
    DAEMON
}

/// A container's exit status as this program's own.
pub(crate) fn of_container(status: i64) -> ExitCode {
    // The kernel keeps the lowest 8 bits, too.
    ExitCode::from(u8::try_from(status & 0xff).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_to_start_says_what_was_missing() {
        let cases = [
            ("exec: \"foo\": executable file not found in $PATH", 127),
            ("exec: \"/foo\": stat /foo: no such file or directory", 127),
            ("exec: \"/etc/passwd\": permission denied", 126),
            ("exec: \"/etc\": is a directory", 126),
            ("network ol1 not found", DAEMON),
        ];
        for (message, expected) in cases {
            assert_eq!(of_start_failure(message), expected, "{message}");
        }
    }
}
