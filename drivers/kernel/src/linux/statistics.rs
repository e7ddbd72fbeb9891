//! What went over our links, and how many firewall objects are ours: for whoever draws graphs of it.
//!
//! One dump of links whatever their number; nothing here is on the path of a request.

use model::{InterfaceName, NodeId};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage, Stats64},
};

use super::{Linux, any_link, netlink::Refusal};
use crate::{Error, Key, Mark, Netns, Owner, Result, ruleset::Item};

/// A link of ours with its counters, as the host's side of it sees them: what a container sends is received here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatistics {
    /// Its name.
    pub name: InterfaceName,
    /// The record it was made for.
    pub owner: Owner,
    /// What came in.
    pub received: Traffic,
    /// What went out.
    pub sent: Traffic,
}

/// Counters of one direction since the link was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that were broken.
    pub errors: u64,
    /// Packets that there was no room or no use for.
    pub dropped: u64,
}

/// How many firewall objects of ours there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FirewallCounts {
    /// Tables.
    pub tables: u64,
    /// Chains.
    pub chains: u64,
    /// Rules in them.
    pub rules: u64,
    /// Sets and maps.
    pub sets: u64,
    /// Their elements.
    pub elements: u64,
}

impl Linux {
    /// The counters of this node's links in the host's namespace, by one dump.
    ///
    /// # Errors
    /// When the kernel does not list its links.
    pub fn link_statistics(&self, node: NodeId) -> Result<Vec<LinkStatistics>> {
        let everything = Key::Link(Netns::Host, any_link());
        let mut visits = self.visits();
        let links = visits
            .visit(&Netns::Host, &everything)?
            .raw_connection()
            .map_err(Refusal::from)
            .and_then(|connection| connection.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default())))
            .map_err(|refusal| Error::System {
                object: "counters of the host's links".to_owned(),
                action: "listing them",
                source: refusal.source,
            })?;
        Ok(links
            .into_iter()
            .filter_map(|answer| of_ours(answer, node))
            .collect())
    }

    /// How many objects there are in our tables of the host's namespace. With iptables these are chains and rules of
    /// both families, as last written: no process is started to count them.
    ///
    /// # Errors
    /// When the kernel does not list them.
    pub fn firewall_counts(&self) -> Result<FirewallCounts> {
        if let Some(iptables) = &self.host.iptables {
            let (chains, rules) = iptables.counts();
            return Ok(FirewallCounts {
                chains: chains as u64,
                rules: rules as u64,
                ..FirewallCounts::default()
            });
        }
        let everything = Key::Link(Netns::Host, any_link());
        let mut visits = self.visits();
        let items = visits
            .visit(&Netns::Host, &everything)?
            .firewall(&everything)?
            .dump_ours()
            .map_err(|source| Error::System {
                object: "firewall of the host".to_owned(),
                action: "listing it",
                source,
            })?;
        Ok(count(items.iter().map(|(_, item)| item)))
    }
}

/// A link with its counters, if this node made it.
fn of_ours(answer: RouteNetlinkMessage, node: NodeId) -> Option<LinkStatistics> {
    let RouteNetlinkMessage::NewLink(LinkMessage { attributes, .. }) = answer else {
        return None;
    };
    let (mut name, mut mark, mut counters) = (None, None, None);
    for attribute in attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = InterfaceName::new(text).ok(),
            LinkAttribute::IfAlias(alias) => mark = Mark::from_alias(node, &alias),
            LinkAttribute::Stats64(statistics) => counters = Some(statistics),
            _ => {}
        }
    }
    let (received, sent) = directions(&counters?);
    Some(LinkStatistics {
        name: name?,
        owner: mark?.owner,
        received,
        sent,
    })
}

fn directions(counters: &Stats64) -> (Traffic, Traffic) {
    let received = Traffic {
        bytes: counters.rx_bytes,
        packets: counters.rx_packets,
        errors: counters.rx_errors,
        dropped: counters.rx_dropped,
    };
    let sent = Traffic {
        bytes: counters.tx_bytes,
        packets: counters.tx_packets,
        errors: counters.tx_errors,
        dropped: counters.tx_dropped,
    };
    (received, sent)
}

fn count<'i>(items: impl Iterator<Item = &'i Item>) -> FirewallCounts {
    let mut counts = FirewallCounts::default();
    for item in items {
        match item {
            Item::Table(_) => counts.tables += 1,
            Item::Chain(chain) => {
                counts.chains += 1;
                counts.rules += chain.rules.len() as u64;
            }
            Item::Set(_) => counts.sets += 1,
            Item::Element(_) => counts.elements += 1,
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Object, contract::objects::*, ensure, linux::tests::apart};

    #[test]
    fn one_dump_tells_of_our_links_and_of_nobody_elses() {
        apart(|| {
            let kernel = Linux::here().expect("a kernel");
            let node = NodeId::random();
            let owner = Owner::Network(model::NetworkId::random());
            let mark = Mark { node, owner };
            let objects = ["br1", "br2"].map(|name| Object::Link(bridge(&Netns::Host, name)));
            ensure(&kernel, &mark, &objects.into_iter().collect()).expect("two bridges");
            let before = kernel.messages_sent();
            let mut found = kernel.link_statistics(node).expect("counters");
            assert_eq!(kernel.messages_sent() - before, 1, "one dump");
            found.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
            let names: Vec<_> = found.iter().map(|link| link.name.as_str()).collect();
            assert_eq!(names, ["br1", "br2"], "lo and other nodes' links are left out");
            assert!(found.iter().all(|link| link.owner == owner));
            assert_eq!(kernel.link_statistics(NodeId::random()).expect("counters"), []);
            assert_eq!(kernel.firewall_counts().expect("none"), FirewallCounts::default());
        });
    }
}
