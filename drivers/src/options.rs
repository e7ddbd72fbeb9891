//! Drivers' options as typed: the edge where text becomes values, with a hint for whoever mistyped.

use model::Labels;

use crate::{Error, Result};

/// MTU of a driver's links, in bytes.
pub(crate) const MTU: &str = "com.docker.network.driver.mtu";
/// Prefix of interface names inside a sandbox.
pub(crate) const INTERFACE_PREFIX: &str = "com.docker.network.container_iface_prefix";

/// How containers call their interfaces: as an option says, or as everywhere.
pub(crate) fn prefix_or_usual(chosen: Option<String>) -> String {
    chosen.unwrap_or_else(|| "eth".to_owned())
}

/// The smallest MTU of IPv4 (RFC 791).
const SMALLEST_MTU: u16 = 68;

/// Keys that begin so are nobody's in particular: other parts read them, and every driver lets them pass.
const SHARED: [&str; 2] = ["cnm.", "com.docker.network.advertise_addr_"];

/// Refuses a key that the driver doesn't have.
pub(crate) fn refuse_unknown(driver: &str, known: &[&'static str], options: &Labels) -> Result<()> {
    let ours =
        |key: &&String| !known.contains(&key.as_str()) && !SHARED.iter().any(|start| key.starts_with(start));
    match options.keys().find(ours) {
        None => Ok(()),
        Some(key) => Err(Error::Invalid {
            message: format!("the {driver} driver has no option {key:?}"),
            hint: Some(match nearest(key, known) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("its options are {}", known.join(", ")),
            }),
        }),
    }
}

/// An option's value that can't be used.
pub(crate) fn invalid(key: &str, value: &str, wanted: &str) -> Error {
    Error::Invalid {
        message: format!("option {key:?} can't be {value:?}"),
        hint: Some(format!("{wanted} is wanted")),
    }
}

/// A switch, as Docker writes them.
pub(crate) fn boolean(options: &Labels, key: &str, default: bool) -> Result<bool> {
    match options.get(key).map(String::as_str) {
        None => Ok(default),
        Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
        Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
        Some(value) => Err(invalid(key, value, "\"true\" or \"false\"")),
    }
}

/// An MTU; 0 means none, as in Docker.
pub(crate) fn mtu(options: &Labels) -> Result<Option<u32>> {
    let Some(value) = options.get(MTU) else {
        return Ok(None);
    };
    match value.parse::<u16>() {
        Ok(0) => Ok(None),
        Ok(mtu) if mtu >= SMALLEST_MTU => Ok(Some(mtu.into())),
        _ => Err(invalid(MTU, value, "a number of bytes from 68 to 65535")),
    }
}

/// A prefix of interface names, short enough for a number behind it.
pub(crate) fn interface_prefix(options: &Labels) -> Result<Option<String>> {
    let Some(prefix) = options.get(INTERFACE_PREFIX) else {
        return Ok(None);
    };
    match model::InterfaceName::numbered(prefix, 999) {
        Ok(_) if !prefix.is_empty() => Ok(Some(prefix.clone())),
        _ => Err(invalid(
            INTERFACE_PREFIX,
            prefix,
            "a start of interface names with at most 12 bytes",
        )),
    }
}

/// The known key that a mistyped one most likely meant: the least number of edits, if they are few for its length, the
/// common front of long keys not counted.
pub(crate) fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let tail = |text: &str| text.rsplit('.').next().unwrap_or_default().to_lowercase();
    let near = known
        .iter()
        .map(|candidate| (edits(&tail(key), &tail(candidate)), *candidate))
        .min()?;
    (near.0 * 3 <= tail(key).len().max(3)).then_some(near.1)
}

/// Levenshtein's distance: insertions, deletions and replacements from one text to the other.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, letter) in from.chars().enumerate() {
        let mut corner = row[0];
        row[0] = at + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = corner + usize::from(letter != *other);
            corner = row[column + 1];
            row[column + 1] = replaced.min(corner + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, count) in [
            ("", "", 0),
            ("icc", "icc", 0),
            ("icc", "ic", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edits(from, to), count, "{from} to {to}");
        }
    }

    #[test]
    fn a_mistyped_key_gets_the_one_that_was_meant() {
        let known = [
            "com.docker.network.bridge.name",
            "com.docker.network.bridge.enable_icc",
            MTU,
        ];
        let rows = [
            ("com.docker.network.bridge.enable_ic", Some(known[1])),
            ("enable_icc", Some(known[1])),
            ("com.docker.network.mtu", Some(MTU)),
            ("colour", None),
        ];
        for (key, wanted) in rows {
            assert_eq!(nearest(key, &known), wanted, "{key}");
        }
    }
}
