//! `WWW-Authenticate` (RFC 9110, 11.6.1) as registries write it.

use std::collections::BTreeMap;

/// What a registry wants before it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// In small letters: `basic`, `bearer`.
    pub(crate) scheme: String,
    /// By their names in small letters.
    pub(crate) parameters: BTreeMap<String, String>,
}

/// Reads one header. What can't be read ends it: a registry's mistake must not keep what stood before it from being used.
pub(crate) fn parse(header: &str) -> Option<Challenge> {
    let (scheme, mut rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    let mut parameters = BTreeMap::new();
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (value, left) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_owned(), left)
            }
        };
        parameters.insert(key, value);
        rest = left;
    }
    let is_token = !scheme.is_empty()
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_token.then(|| Challenge {
        scheme: scheme.to_ascii_lowercase(),
        parameters,
    })
}

/// What stands before the closing quote, and what is behind it.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_they_are_written() {
        let read = |header: &str| {
            let challenge = parse(header).expect(header);
            let pairs = challenge
                .parameters
                .into_iter()
                .map(|(key, value)| format!("{key}={value}"));
            format!("{} {}", challenge.scheme, pairs.collect::<Vec<_>>().join("|"))
        };
        for (header, wanted) in [
            ("Basic realm=\"Registry Realm\"", "basic realm=Registry Realm"),
            (
                "Bearer realm=\"https://auth.example/token\",service=\"registry, the one\"",
                "bearer realm=https://auth.example/token|service=registry, the one",
            ),
            ("bearer Realm=here, scope=a", "bearer realm=here|scope=a"),
            ("Basic realm=\"a \\\"b\\\"\"", "basic realm=a \"b\""),
            ("Basic realm=\"never closed", "basic realm=never closed"),
            ("Negotiate", "negotiate "),
        ] {
            assert_eq!(read(header), wanted);
        }
        assert_eq!(parse(""), None);
        assert_eq!(parse("@ a=b"), None);
    }
}
