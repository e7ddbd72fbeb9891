//! References: how people name images. `busybox` is short for `docker.io/library/busybox:latest`.
//!
//! The full form is kept; [`Reference::familiar`] is the short one that people see.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Digest, Error};

const DEFAULT_DOMAIN: &str = "docker.io";
const DEFAULT_FOLDER: &str = "library/";
const DEFAULT_TAG: &str = "latest";

/// A normalised image reference: a repository with a tag, or with a digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Repository as people see it: `busybox`, `quay.io/team/app`.
    pub fn familiar_repository(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.path);
        }
        match self.path.strip_prefix(DEFAULT_FOLDER) {
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The whole reference as people see it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.familiar_repository() + &self.suffix()
    }

    /// Repository in full: `docker.io/library/busybox`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The tag; none when a digest alone was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, when one was given.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    fn suffix(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        tag.chain(self.digest.iter().map(|digest| format!("@{digest}")))
            .collect()
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |rule| Error::InvalidReference {
            text: text.to_owned(),
            rule,
        };
        if Digest::from_hex(text).is_some() {
            return Err(refuse("is an id, not a name"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (
                rest,
                Some(digest.parse().map_err(|_| refuse("has no valid digest"))?),
            ),
            None => (text, None),
        };
        let (domain, rest) = split_domain(rest);
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(refuse("has a repository name that is not lowercase"));
        }
        if !valid_path(path) || domain.is_some_and(|domain| !valid_domain(domain)) {
            return Err(refuse(
                "has no valid repository name: lowercase letters, digits and single separators \".\", \"_\", \"__\", \"-\", \"/\" are wanted",
            ));
        }
        if tag.is_some_and(|tag| !valid_tag(tag)) {
            return Err(refuse(
                "has no valid tag: up to 128 letters, digits, \"_\", \".\" and \"-\" are wanted",
            ));
        }
        let domain = match domain {
            None | Some("index.docker.io") => DEFAULT_DOMAIN,
            Some(domain) => domain,
        };
        let folder = if domain == DEFAULT_DOMAIN && !path.contains('/') {
            DEFAULT_FOLDER
        } else {
            ""
        };
        let tag = tag.or(digest.is_none().then_some(DEFAULT_TAG)).map(str::to_owned);
        let path = format!("{folder}{path}");
        if domain.len() + 1 + path.len() > 255 {
            return Err(refuse("has a repository name of more than 255 characters"));
        }
        Ok(Self {
            domain: domain.to_owned(),
            path,
            tag,
            digest,
        })
    }
}

/// The first component is a registry if it could not be a folder: it has a dot or a port, or is `localhost`.
fn split_domain(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, text),
    }
}

fn valid_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.ends_with(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let literal = |host: &str| {
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok())
    };
    (literal(host) || host.split('.').all(label))
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn valid_path(path: &str) -> bool {
    path.split('/').all(|component| {
        let mut rest = component;
        loop {
            let word = rest.trim_start_matches(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
            if word.len() == rest.len() {
                return false; // a separator where a letter or digit is wanted
            }
            if word.is_empty() {
                return true;
            }
            let dashes = word.trim_start_matches('-');
            rest = if dashes.len() < word.len() {
                dashes
            } else if let Some(rest) = word.strip_prefix("__").or_else(|| word.strip_prefix(['.', '_'])) {
                rest
            } else {
                return false;
            };
        }
    })
}

fn valid_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.domain, self.path, self.suffix())
    }
}
impl TryFrom<String> for Reference {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}
impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_mean_full_ones_and_are_shown_short() {
        let digest = Digest::of(b"x");
        let by_digest = format!("busybox@{digest}");
        for (given, full, familiar) in [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("busybox:1.37", "docker.io/library/busybox:1.37", "busybox:1.37"),
            (
                "library/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            (
                "docker.io/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            ("index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest"),
            ("team/app:v1", "docker.io/team/app:v1", "team/app:v1"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            (
                "localhost:5000/app",
                "localhost:5000/app:latest",
                "localhost:5000/app:latest",
            ),
            (
                "quay.io/a/b-c__d:T.1",
                "quay.io/a/b-c__d:T.1",
                "quay.io/a/b-c__d:T.1",
            ),
            (
                "[fd00::1]:5000/a",
                "[fd00::1]:5000/a:latest",
                "[fd00::1]:5000/a:latest",
            ),
            (
                &by_digest,
                &format!("docker.io/library/busybox@{digest}"),
                &by_digest,
            ),
        ] {
            let reference: Reference = given.parse().expect(given);
            assert_eq!(
                (reference.to_string().as_str(), reference.familiar().as_str()),
                (full, familiar)
            );
            assert_eq!(
                reference.to_string().parse::<Reference>().expect(full),
                reference,
                "stable"
            );
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for bad in [
            "",
            ":",
            "a:",
            "a:-x",
            "A",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "a___b",
            "a b",
            "a@sha256:12",
            "a:b c",
            "..",
            "é",
            "-a.b/c",
            &"a".repeat(64),
            &"a".repeat(300),
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?}");
        }
    }
}
