//! What went wrong, as the specification has runtimes told: a code, a message, details.

use serde_json::{Value, json};

use crate::version::Version;

/// Codes of the specification (below 100) and our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The version of the specification is none of ours.
    IncompatibleVersion = 1,
    /// The configuration has a field with a value that can't be had.
    UnsupportedField = 2,
    /// No such container: nothing needs to be cleaned up.
    UnknownContainer = 3,
    /// A variable of the environment is missing or makes no sense.
    InvalidEnvironment = 4,
    /// Reading or writing failed.
    Io = 5,
    /// What is on stdin is no configuration.
    Undecodable = 6,
    /// The configuration makes no sense.
    InvalidConfig = 7,
    /// The daemon, or its cluster store, does not answer just now.
    TryAgain = 11,
    /// Nobody can be added now.
    NotAvailable = 50,
    /// Nor do those who were added reach everybody.
    Limited = 51,
    /// The daemon refuses: a name or an address is taken.
    Refused = 100,
    /// An interface or a port is taken, or the namespace is another container's.
    Conflict = 101,
    /// The daemon failed.
    Daemon = 102,
    /// CHECK: the container's network is not what it was made.
    NotAsMade = 103,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// For people, short.
    pub message: String,
    /// For people, long; perhaps empty.
    pub details: String,
}

impl Failure {
    /// With a message alone.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: String::new(),
        }
    }

    /// With more to read.
    #[must_use]
    pub fn with(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// A failed read or write.
    pub fn io(doing: &str, error: &std::io::Error) -> Self {
        Self::new(Code::Io, format!("{doing}: {error}"))
    }

    /// The document for the runtime, in the version that its configuration asks for, if it can be read at all.
    pub fn to_json(&self, stdin: &[u8]) -> String {
        let asked = serde_json::from_slice::<Value>(stdin).ok();
        let asked = asked.as_ref().and_then(|config| config["cniVersion"].as_str());
        let version = asked.and_then(Version::parse).unwrap_or(Version::NEWEST);
        let mut document = json!({
            "cniVersion": version.as_str(),
            "code": self.code as u32,
            "msg": self.message,
        });
        if !self.details.is_empty() {
            document["details"] = self.details.clone().into();
        }
        format!("{document:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_speaks_the_version_that_was_asked_for() {
        let failure = Failure::new(Code::InvalidConfig, "no name").with("give one");
        for (stdin, version) in [
            (r#"{"cniVersion": "0.4.0"}"#, "0.4.0"),
            (r#"{"cniVersion": "9.9.9"}"#, "1.1.0"),
            (r#"{"cniVersion": 7}"#, "1.1.0"),
            ("[1]", "1.1.0"),
            ("", "1.1.0"),
        ] {
            let document: Value = serde_json::from_str(&failure.to_json(stdin.as_bytes())).unwrap();
            let wanted = json!({"cniVersion": version, "code": 7, "msg": "no name", "details": "give one"});
            assert_eq!(document, wanted, "{stdin}");
        }
    }
}
