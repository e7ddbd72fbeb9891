//! What the user sees: prompts with commands, their output, and the table at the end.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use netlab::Finished;

use crate::checks::{Check, Checks};

/// Standard output, in bold and colour where a person reads it.
#[derive(Debug)]
pub(crate) struct Screen {
    colour: bool,
}

/// Escape sequences for commands, good news and bad news.
const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            colour: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// A line. A closed pipe ends no demo: there is still something to take down.
    pub(crate) fn say(&self, text: &str) {
        let _ = writeln!(io::stdout(), "{text}");
    }

    /// What goes on, for those who read along.
    pub(crate) fn heading(&self, text: &str) {
        self.say(&format!("\n{}", self.dressed(BOLD, &format!("== {text}"))));
    }

    /// A command at a host's prompt.
    pub(crate) fn prompt(&self, host: &str, words: &[&str]) {
        let typed = words
            .iter()
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" ");
        self.say(&self.dressed(BOLD, &format!("{host}# {typed}")));
    }

    /// What a command printed.
    pub(crate) fn output(&self, finished: &Finished) {
        for text in [&finished.stdout, &finished.stderr] {
            if !text.trim().is_empty() {
                self.say(text.trim_end_matches('\n'));
            }
        }
    }

    pub(crate) fn error(&self, error: &anyhow::Error) {
        self.say(&format!(
            "\n{}",
            self.dressed(RED, &format!("cnm demo: {error:#}"))
        ));
    }

    /// What was checked, and how many of it hold.
    pub(crate) fn table(&self, checks: &Checks, took: Duration) {
        let width = checks
            .iter()
            .map(|check| check.sentence.chars().count())
            .max()
            .unwrap_or(0)
            .max(7);
        self.say(&self.dressed(BOLD, &format!("{:width$}  RESULT", "CHECKED")));
        for check in checks.iter() {
            self.say(&self.row(check, width));
        }
        let (held, all) = (checks.holding(), checks.iter().len());
        self.say(&format!(
            "{held} of {all} hold; it took {:.1} s",
            took.as_secs_f64()
        ));
    }

    fn row(&self, check: &Check, width: usize) -> String {
        let result = match &check.outcome {
            Ok(None) => self.dressed(GREEN, "ok"),
            Ok(Some(took)) => self.dressed(GREEN, &format!("ok, {} ms", took.as_millis())),
            Err(reason) => self.dressed(RED, &format!("FAILED: {}", one_line(reason))),
        };
        format!("{:width$}  {result}", check.sentence)
    }

    fn dressed(&self, dress: &str, text: &str) -> String {
        if self.colour {
            format!("{dress}{text}{PLAIN}")
        } else {
            text.to_owned()
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A word as it is typed in a shell.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_shown_as_a_shell_wants_them() {
        let rows = [
            ("net", "net"),
            ("172.16.2.0/24", "172.16.2.0/24"),
            ("", "''"),
            ("a b", "'a b'"),
            ("{{.Id}}", "'{{.Id}}'"),
            ("it's", r"'it'\''s'"),
        ];
        for (word, shown) in rows {
            assert_eq!(quoted(word), shown);
        }
    }

    #[test]
    fn a_row_says_how_long_or_why_not_on_one_line() {
        let screen = Screen { colour: false };
        let row = |outcome| {
            screen.row(
                &Check {
                    sentence: "it works".to_owned(),
                    outcome,
                },
                10,
            )
        };
        assert_eq!(row(Ok(None)), "it works    ok");
        assert_eq!(row(Ok(Some(Duration::from_millis(12)))), "it works    ok, 12 ms");
        assert_eq!(row(Err("no\n  route".to_owned())), "it works    FAILED: no route");
    }
}
