//! How the ports of a bridge are kept apart: by the bridge itself, or by the firewall where it sees each of their frames.
//!
//! Isolated ports need nothing else, so they are the rule. Where `br_netfilter` hands frames between ports to the
//! firewall, they are in the way: what a container sends to a published port of its own network is translated while it is
//! bridged and goes on to the neighbour's port at once, which an isolated one may not. There the firewall's rules, which
//! are the same, do it alone. What was read is watched from then on, so whoever switches it wakes a repair.

use kernel::{
    KernelState, Key, Netns, Object,
    object::{Link, LinkKind},
};
use model::{Endpoint, Network};

use super::{Outcome, Shell};
use crate::{Target, planner::Planner};

/// What decides whether the rules see bridged frames of IPv4 and IPv6. A kernel without IPv6 has both all the same.
const SEEN: [&str; 2] = [
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
];

impl Shell {
    /// What an endpoint needs on this host as it is now.
    pub(super) fn endpoint(
        &self,
        planner: &dyn Planner,
        network: &Network,
        endpoint: &Endpoint,
        target: &Target,
    ) -> Outcome<KernelState> {
        let state = planner.endpoint(network, endpoint, target)?;
        let keys = SEEN.map(|name| Key::Sysctl(Netns::Host, name.to_owned()));
        let is_filtered = planner.filters_ports(network) && sees_all(&self.kernel.observe(&keys)?);
        Ok(match is_filtered {
            true => state.objects().cloned().map(joined).collect(),
            false => state,
        })
    }
}

/// Pure: whether the firewall is asked about every bridged packet.
fn sees_all(settings: &KernelState) -> bool {
    let on = |object: &&Object| matches!(object, Object::Sysctl(sysctl) if sysctl.value == "1");
    settings.objects().filter(on).count() == SEEN.len()
}

/// Pure: a port like those of networks whose containers reach each other.
fn joined(object: Object) -> Object {
    match object {
        Object::Link(Link {
            kind: LinkKind::Veth { peer, mut port },
            netns,
            name,
            mac,
            mtu,
            master,
            up,
        }) => {
            port.isolated = false;
            Object::Link(Link {
                netns,
                name,
                kind: LinkKind::Veth { peer, port },
                mac,
                mtu,
                master,
                up,
            })
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use kernel::object::Sysctl;

    use super::*;

    #[test]
    fn ports_are_joined_only_where_every_packet_is_seen() {
        let rows: [(&[&str], bool); 5] = [
            (&[], false),
            (&["1"], false),
            (&["1", "0"], false),
            (&["0", "1"], false),
            (&["1", "1"], true),
        ];
        for (values, wanted) in rows {
            let settings = SEEN.iter().zip(values).map(|(name, value)| {
                Object::Sysctl(Sysctl {
                    netns: Netns::Host,
                    name: (*name).to_owned(),
                    value: (*value).to_owned(),
                })
            });
            assert_eq!(sees_all(&settings.collect()), wanted, "{values:?}");
        }
    }
}
