//! Pure: which network a text names. Full id before name before unique id prefix.

use std::sync::Arc;

use model::{Lifecycle, Network, Snapshot};

use crate::error::{Error, Result};

/// The network that the text names.
pub(super) fn find(snapshot: &Snapshot, text: &str) -> Result<Arc<Network>> {
    let visible = || snapshot.networks.values().filter(|network| is_visible(network));
    if let Some(network) = text.parse().ok().and_then(|id| snapshot.networks.get(&id))
        && is_visible(network)
    {
        return Ok(Arc::clone(network));
    }
    let named: Vec<_> = visible()
        .filter(|network| network.name.as_str() == text)
        .collect();
    if let Some(network) = one_of(&named, text, "name")? {
        return Ok(network);
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(network_not_found(text));
    }
    let text_lower = text.to_ascii_lowercase();
    let near: Vec<_> = visible()
        .filter(|network| network.id.to_string().starts_with(&text_lower))
        .collect();
    one_of(&near, text, "ID prefix")?.ok_or_else(|| network_not_found(text))
}

/// Every network that is made, by name.
pub(super) fn list(snapshot: &Snapshot) -> Vec<Arc<Network>> {
    let mut all: Vec<_> = snapshot
        .networks
        .values()
        .filter(|network| is_visible(network))
        .cloned()
        .collect();
    all.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    all
}

/// The error for a network that isn't there.
pub(crate) fn network_not_found(text: &str) -> Error {
    Error::not_found(format!("network {text} not found"))
}

/// One half made is nobody's business yet; one half removed still is, so that its removal can be asked for again.
fn is_visible(network: &Network) -> bool {
    network.lifecycle != Lifecycle::Creating
}

fn one_of(found: &[&Arc<Network>], text: &str, by: &str) -> Result<Option<Arc<Network>>> {
    match found {
        [] => Ok(None),
        [one] => Ok(Some(Arc::clone(one))),
        several => {
            let ids: Vec<_> = several.iter().map(|network| network.id.short()).collect();
            let count = several.len();
            Err(Error::invalid(format!(
                "network {text} is ambiguous ({count} matches found based on {by})"
            ))
            .with_hint(format!("say which by more of its id: {}", ids.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{IpamConfig, Labels, NetworkId, NetworkName, Scope, Timestamp};

    use super::*;

    fn network(first: u8, second: u8, name: &str) -> Arc<Network> {
        let mut bytes = [0; 32];
        (bytes[0], bytes[1]) = (first, second);
        Arc::new(Network {
            id: NetworkId::from_bytes(bytes),
            name: NetworkName::new(name).unwrap(),
            driver: model::DriverName::new("bridge").unwrap(),
            scope: Scope::Local,
            lifecycle: Lifecycle::Active,
            created: Timestamp::ZERO,
            labels: Labels::new(),
            options: Labels::new(),
            enable_ipv4: true,
            enable_ipv6: false,
            internal: false,
            attachable: false,
            predefined: false,
            ipam: IpamConfig {
                driver: model::DriverName::new("default").unwrap(),
                options: Labels::new(),
                subnets: Vec::new(),
            },
            pools: Vec::new(),
            vnis: Vec::new(),
            config_only: false,
            config_from: None,
            found: None,
        })
    }

    #[test]
    fn full_id_goes_before_name_before_unique_prefix() {
        let (one, two) = (network(0xab, 0x01, "one"), network(0xab, 0x02, "two"));
        // A network whose name looks like the other's id.
        let odd = network(0xcd, 0, &one.id.to_string());
        let named_like_a_prefix = network(0xef, 0, "ab01");
        let mut snapshot = Snapshot::default();
        for network in [&one, &two, &odd, &named_like_a_prefix] {
            snapshot.networks.insert(network.id, Arc::clone(network));
        }
        let rows = [
            (one.id.to_string(), &one),
            ("two".to_owned(), &two),
            ("ab02".to_owned(), &two),
            ("AB02".to_owned(), &two),
            ("ab01".to_owned(), &named_like_a_prefix),
            ("cd".to_owned(), &odd),
        ];
        for (text, expected) in rows {
            assert_eq!(find(&snapshot, &text).unwrap().id, expected.id, "{text}");
        }
        let ambiguous = find(&snapshot, "ab0").unwrap_err();
        assert_eq!(
            ambiguous.to_string(),
            "network ab0 is ambiguous (2 matches found based on ID prefix)"
        );
        assert!(matches!(ambiguous, Error::Invalid { .. }));
        for nobody in ["", "zz", "1", "On"] {
            assert!(
                matches!(find(&snapshot, nobody), Err(Error::NotFound { .. })),
                "{nobody:?}"
            );
        }
        assert_eq!(list(&snapshot).len(), 4);
    }
}
