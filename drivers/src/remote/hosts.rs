//! The hosts of the cluster, which plugins whose networks are those of all hosts are told of.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use model::NodeId;
use plugin_proto::network_driver::{DiscoverDelete, DiscoverNew, NODE_DISCOVERY, NodeDiscovery};

use super::Remote;

/// A host of the cluster that is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownHost {
    /// Its identity.
    pub node: NodeId,
    /// Its address for others.
    pub address: IpAddr,
    /// Whether it is this one.
    pub itself: bool,
}

/// The hosts that are alive, by their nodes.
type Known = BTreeMap<NodeId, KnownHost>;

/// Those that are alive right now: one list for all plugins. Empty where no store is shared.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts(Arc<Mutex<Arc<Known>>>);

impl Hosts {
    pub(super) fn now(&self) -> Arc<Known> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers whether it is another list than before.
    pub(super) fn set(&self, hosts: &[KnownHost]) -> bool {
        let new: Known = hosts.iter().map(|host| (host.node, *host)).collect();
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = **now != new;
        *now = Arc::new(new);
        changed
    }
}

/// What a plugin is told.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Gone(KnownHost),
    Came(KnownHost),
}

/// Pure: what one who was told of some has not heard yet. Who has another address is told as one gone and one come.
/// Those with the smaller address come first.
fn news(told: &Known, now: &Known) -> Vec<News> {
    let gone = told.iter().filter(|(node, host)| now.get(node) != Some(host));
    let came = now.iter().filter(|(node, host)| told.get(node) != Some(host));
    let mut came: Vec<KnownHost> = came.map(|(_, host)| *host).collect();
    came.sort_by_key(|host| host.address);
    let gone = gone.map(|(_, host)| News::Gone(*host));
    gone.chain(came.into_iter().map(News::Came)).collect()
}

fn discovered(address: IpAddr, itself: bool) -> NodeDiscovery {
    NodeDiscovery {
        address: address.to_string(),
        bind_address: String::new(),
        itself,
    }
}

impl Remote {
    /// Tells a plugin of the hosts that came and went since it was told last. What it does not hear it is told with the
    /// next change; what it says to it is only logged.
    pub(super) async fn meet(&self) {
        if !self.is_everywhere() {
            return;
        }
        let mut told = self.told.lock().await;
        let now = self.hosts.now();
        for news in news(&told, &now) {
            let (host, outcome) = match news {
                News::Gone(host) => {
                    let call = DiscoverDelete {
                        discovery_type: NODE_DISCOVERY,
                        discovery_data: discovered(host.address, host.itself),
                    };
                    (host, self.plugin.call(&call).await)
                }
                News::Came(host) => {
                    let call = DiscoverNew {
                        discovery_type: NODE_DISCOVERY,
                        discovery_data: discovered(host.address, host.itself),
                    };
                    (host, self.plugin.call(&call).await)
                }
            };
            if let Err(error) = outcome {
                tracing::warn!(plugin = self.plugin.name(), %error, "telling of a host");
                if error.is_silence() {
                    return;
                }
            }
            match now.get(&host.node) == Some(&host) {
                true => told.insert(host.node, host),
                false => told.remove(&host.node),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(node: u8, address: u8, itself: bool) -> KnownHost {
        KnownHost {
            node: NodeId::from_bytes([node; 32]),
            address: [192, 0, 2, address].into(),
            itself,
        }
    }

    fn known(hosts: &[KnownHost]) -> Known {
        hosts.iter().map(|host| (host.node, *host)).collect()
    }

    #[test]
    fn only_what_changed_is_news() {
        let (a, b, here) = (host(1, 1, false), host(2, 2, false), host(3, 3, true));
        let moved = host(1, 9, false);
        let rows: [(&[KnownHost], &[KnownHost], &[News]); 5] = [
            (&[], &[a, here], &[News::Came(a), News::Came(here)]),
            (&[a, here], &[a, here], &[]),
            (&[a, here], &[here, b], &[News::Gone(a), News::Came(b)]),
            (&[a], &[moved], &[News::Gone(a), News::Came(moved)]),
            (&[a, here], &[], &[News::Gone(a), News::Gone(here)]),
        ];
        for (told, now, wanted) in rows {
            assert_eq!(news(&known(told), &known(now)), wanted);
        }
    }

    #[test]
    fn the_same_list_is_no_change() {
        let hosts = Hosts::default();
        assert!(!hosts.set(&[]));
        assert!(hosts.set(&[host(1, 1, true)]));
        assert!(!hosts.set(&[host(1, 1, true)]));
    }
}
