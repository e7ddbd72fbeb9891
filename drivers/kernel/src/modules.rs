//! The parts of the kernel that networks are made of, many of them modules: which are there, and what a user can't do
//! without the others.
//!
//! What the kernel says of itself (`/proc/modules`, `/sys/module`, the lists that `depmod` writes) is believed where it says
//! that a part is there, and a part that it loads by itself counts. Only what is then still in doubt is tried, in a
//! namespace that is thrown away.

use std::{collections::BTreeSet, fmt};

/// A part of the kernel, by its module's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Module {
    /// Ethernet bridges.
    Bridge,
    /// Pairs of links.
    Veth,
    /// The firewall.
    NfTables,
    /// Its chains that translate addresses.
    NftNat,
    /// Its way to the host's address.
    NftMasquerade,
    /// Its way to ask whose an address is.
    NftFib,
    /// Connection tracking by netlink.
    ConntrackNetlink,
    /// Tunnels.
    Vxlan,
    /// Links that share another's wire, each with an Ethernet address.
    Macvlan,
    /// The same with one Ethernet address.
    Ipvlan,
    /// VLANs.
    Vlan,
    /// Links that lead nowhere.
    Dummy,
    /// IP rules for bridged packets.
    BridgeNetfilter,
}

impl Module {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Bridge,
        Self::Veth,
        Self::NfTables,
        Self::NftNat,
        Self::NftMasquerade,
        Self::NftFib,
        Self::ConntrackNetlink,
        Self::Vxlan,
        Self::Macvlan,
        Self::Ipvlan,
        Self::Vlan,
        Self::Dummy,
        Self::BridgeNetfilter,
    ];

    /// As `modprobe` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Veth => "veth",
            Self::NfTables => "nf_tables",
            Self::NftNat => "nft_chain_nat",
            Self::NftMasquerade => "nft_masq",
            Self::NftFib => "nft_fib_inet",
            Self::ConntrackNetlink => "nf_conntrack_netlink",
            Self::Vxlan => "vxlan",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Vlan => "8021q",
            Self::Dummy => "dummy",
            Self::BridgeNetfilter => "br_netfilter",
        }
    }

    /// As a kernel's configuration calls it.
    pub const fn option(self) -> &'static str {
        match self {
            Self::Bridge => "CONFIG_BRIDGE",
            Self::Veth => "CONFIG_VETH",
            Self::NfTables => "CONFIG_NF_TABLES_INET",
            Self::NftNat => "CONFIG_NFT_NAT",
            Self::NftMasquerade => "CONFIG_NFT_MASQ",
            Self::NftFib => "CONFIG_NFT_FIB_INET",
            Self::ConntrackNetlink => "CONFIG_NF_CT_NETLINK",
            Self::Vxlan => "CONFIG_VXLAN",
            Self::Macvlan => "CONFIG_MACVLAN",
            Self::Ipvlan => "CONFIG_IPVLAN",
            Self::Vlan => "CONFIG_VLAN_8021Q",
            Self::Dummy => "CONFIG_DUMMY",
            Self::BridgeNetfilter => "CONFIG_BRIDGE_NETFILTER",
        }
    }

    /// The kind of link that it brings, as `ip link add … type KIND` has it.
    pub const fn kind(self) -> Option<&'static str> {
        match self {
            Self::Bridge => Some("bridge"),
            Self::Veth => Some("veth"),
            Self::Vxlan => Some("vxlan"),
            Self::Macvlan => Some("macvlan"),
            Self::Ipvlan => Some("ipvlan"),
            Self::Vlan => Some("vlan"),
            Self::Dummy => Some("dummy"),
            _ => None,
        }
    }

    /// What a user can't do without it; none where nothing here needs it.
    pub const fn without(self) -> Option<&'static str> {
        Some(match self {
            Self::Bridge => "no bridge networks, the default one among them, and no overlay networks",
            Self::Veth => "no container on a bridge or overlay network",
            Self::NfTables => {
                "no firewall rules: no published ports, no masquerading and no isolation, but with --firewall-backend iptables"
            }
            Self::NftNat => "no published ports and no masquerading, but with --firewall-backend iptables",
            Self::NftMasquerade => "no masquerading: containers do not reach the outside",
            Self::NftFib => "no ports published on all of the host's addresses",
            Self::ConntrackNetlink => {
                "flows through ports that are no longer published go on until they end by themselves"
            }
            Self::Vxlan => "no overlay networks",
            Self::Macvlan => "no macvlan networks",
            Self::Ipvlan => "no ipvlan networks",
            Self::Vlan => {
                "no macvlan or ipvlan networks on VLANs that are not there already (parent=eth0.10)"
            }
            Self::Dummy => "no macvlan or ipvlan networks without a parent",
            Self::BridgeNetfilter => return None,
        })
    }

    /// Whether it serves the firewall that is made of nf_tables, and nothing else.
    pub const fn is_of_nftables(self) -> bool {
        matches!(
            self,
            Self::NfTables | Self::NftNat | Self::NftMasquerade | Self::NftFib
        )
    }
}

/// What networks of a driver can't be made without.
pub fn needed_by(driver: &str) -> &'static [Module] {
    match driver {
        "bridge" => &[Module::Bridge, Module::Veth],
        "overlay" => &[Module::Vxlan, Module::Bridge, Module::Veth],
        "macvlan" => &[Module::Macvlan],
        "ipvlan" => &[Module::Ipvlan],
        _ => &[],
    }
}

/// What is known of a part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evidence {
    /// It is loaded, or built in.
    pub there: bool,
    /// There is a file to load it from.
    pub file: bool,
    /// The kernel loads by itself what it has a file of.
    pub by_itself: bool,
    /// It was tried, and worked or not.
    pub tried: Option<bool>,
}

/// A part that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The part.
    pub module: Module,
    /// It can be loaded by hand.
    pub file: bool,
}

impl Evidence {
    /// Whether it has to be tried to know.
    pub const fn is_in_doubt(self) -> bool {
        !(self.there || self.file && self.by_itself)
    }

    /// The decision. What can be neither read nor tried is taken to be there: whoever uses it is told by the kernel.
    pub fn missing(self, module: Module) -> Option<Missing> {
        let missing = self.is_in_doubt() && self.tried == Some(false);
        missing.then_some(Missing {
            module,
            file: self.file,
        })
    }
}

impl Missing {
    /// What to do about it.
    pub fn remedy(self) -> String {
        let (name, option) = (self.module.name(), self.module.option());
        match self.file {
            true => format!("load it with \"modprobe {name}\""),
            false => format!("load it with \"modprobe {name}\", or use a kernel with {option}"),
        }
    }
}

/// For people: what they can't do, and why.
impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.module.name();
        match self.module.without() {
            Some(without) => write!(f, "{without}: this kernel has no {name:?}"),
            None => write!(f, "this kernel has no {name:?}, which nothing here needs"),
        }
    }
}

/// The modules that are named in `/proc/modules`, `modules.builtin` or the left side of `modules.dep`, whichever of these
/// `text` is, spelled as the kernel does.
pub fn named_in(text: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let first = line.split([' ', ':']).next()?;
        let file = first.rsplit('/').next()?;
        let name = file.split(".ko").next()?;
        (!name.is_empty()).then(|| name.replace('-', "_"))
    };
    text.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_decided_by_what_is_known() {
        let no = Evidence::default();
        let rows = [
            ("it is loaded", Evidence { there: true, ..no }, None),
            (
                "loaded, and yet it failed",
                Evidence {
                    there: true,
                    tried: Some(false),
                    ..no
                },
                None,
            ),
            (
                "the kernel loads it",
                Evidence {
                    file: true,
                    by_itself: true,
                    ..no
                },
                None,
            ),
            ("nothing is known", no, None),
            (
                "it was tried and worked",
                Evidence {
                    tried: Some(true),
                    ..no
                },
                None,
            ),
            (
                "it was tried and did not",
                Evidence {
                    tried: Some(false),
                    ..no
                },
                Some(false),
            ),
            (
                "it must be loaded by hand",
                Evidence {
                    file: true,
                    tried: Some(false),
                    ..no
                },
                Some(true),
            ),
            (
                "a file that is loaded when tried",
                Evidence {
                    file: true,
                    tried: Some(true),
                    ..no
                },
                None,
            ),
        ];
        for (name, evidence, file) in rows {
            let wanted = file.map(|file| Missing {
                module: Module::Vxlan,
                file,
            });
            assert_eq!(evidence.missing(Module::Vxlan), wanted, "{name}");
        }
    }

    #[test]
    fn it_is_said_what_can_not_be_done_and_what_to_do() {
        let missing = Missing {
            module: Module::Vxlan,
            file: true,
        };
        assert_eq!(
            missing.to_string(),
            "no overlay networks: this kernel has no \"vxlan\""
        );
        assert!(missing.remedy().contains("modprobe vxlan"));
        let missing = Missing {
            module: Module::Vlan,
            file: false,
        };
        assert!(
            missing.remedy().contains("CONFIG_VLAN_8021Q"),
            "{}",
            missing.remedy()
        );
        for module in Module::ALL {
            assert_eq!(module.without().is_none(), module == Module::BridgeNetfilter);
        }
    }

    #[test]
    fn names_are_read_from_each_of_the_kernels_lists() {
        let rows = [
            (
                "vxlan 155648 0 - Live 0x0\nbridge 421888 1 br_netfilter, Live 0x0\n",
                &["bridge", "vxlan"][..],
            ),
            (
                "kernel/net/8021q/8021q.ko\nkernel/drivers/net/ipvlan/ipvlan.ko.xz\n",
                &["8021q", "ipvlan"],
            ),
            (
                "kernel/net/nft-masq.ko.zst: kernel/net/nf_nat.ko.zst\n",
                &["nft_masq"],
            ),
            ("", &[]),
        ];
        for (text, wanted) in rows {
            assert_eq!(named_in(text).into_iter().collect::<Vec<_>>(), wanted, "{text}");
        }
    }
}
