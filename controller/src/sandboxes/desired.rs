//! Pure: what a sandbox's namespace should look like, from its record and its joined endpoints.

use std::{collections::BTreeMap, path::Path};

use drivers::Attachment;
use kernel::{
    KernelState, Key, Netns, Object,
    object::{Address, Link, LinkKind, Sysctl},
};
use model::{
    AddressFamily, Endpoint, InterfaceName, IpNet, Ipv6Net, Labels, NAME_SERVER_V6, Network, Sandbox,
};

use super::{redirect, routes};
use crate::{
    dressed,
    error::{Error, Result},
    leases,
};

/// An endpoint that has joined, with everything its sandbox's side depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Joined<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) network: &'a Network,
    pub(crate) attachment: &'a Attachment,
    pub(crate) gateway_bridge: bool,
    /// The interface's MTU in bytes; none for the kernel's choice.
    pub(crate) mtu: Option<u32>,
}

/// What is decided for all sandboxes alike.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// Namespaces under this folder were made here; others are adopted.
    pub(crate) pins: &'a Path,
    /// The host has IPv6 at all.
    pub(crate) ipv6: bool,
    /// Interfaces on global networks are taken down, or brought up again; none leaves them alone.
    pub(crate) global_up: Option<bool>,
}

/// The namespace and what is in it. Empty for a sandbox in the host's namespace.
pub(crate) fn desired(sandbox: &Sandbox, joined: &[Joined<'_>], rules: Rules<'_>) -> Result<KernelState> {
    let Some(path) = sandbox.netns() else {
        return Ok(KernelState::new());
    };
    let netns = Netns::Pinned(path.clone());
    if dressed::is_dressed(sandbox) {
        let firewall = redirect::items_before_others(sandbox.dns_ports).into_iter();
        return Ok(firewall
            .map(|item| Object::Firewall(netns.clone(), item))
            .collect());
    }
    let mut state = base(sandbox, path, &netns, rules);
    for one in joined {
        if let Some(interface) = &one.endpoint.interface {
            state.extend(endpoint(one, interface, &netns, rules)?);
        }
    }
    if rules.ipv6 && joined.iter().any(|one| one.endpoint.addresses.ipv6.is_some()) {
        state.extend(name_service_v6(sandbox, &netns));
    }
    state.extend(routes::all(joined, &netns));
    Ok(state)
}

fn base(sandbox: &Sandbox, path: &Path, netns: &Netns, rules: Rules<'_>) -> KernelState {
    let made_here = path.starts_with(rules.pins);
    let namespace = match made_here {
        true => Object::Namespace(path.to_owned()),
        false => loopback(netns),
    };
    let firewall = redirect::items(sandbox.dns_ports, AddressFamily::V4).into_iter();
    [namespace]
        .into_iter()
        .chain(firewall.map(|item| Object::Firewall(netns.clone(), item)))
        .collect()
}

/// The name service's own IPv6 address, and the way to it.
fn name_service_v6(sandbox: &Sandbox, netns: &Netns) -> Vec<Object> {
    let address = Ipv6Net::new(NAME_SERVER_V6, 128).expect("128 bits are as many as there are");
    let address = Object::Address(Address {
        netns: netns.clone(),
        link: InterfaceName::new("lo").expect("a literal follows the kernel's rule"),
        address: IpNet::V6(address),
    });
    let firewall = redirect::items(sandbox.dns_ports, AddressFamily::V6).into_iter();
    let firewall = firewall.map(|item| Object::Firewall(netns.clone(), item));
    [address].into_iter().chain(firewall).collect()
}

/// Everything that the name service has in a namespace: what stays in one that isn't ours until it is taken out.
pub(super) fn name_service(sandbox: &Sandbox, netns: &Netns) -> KernelState {
    let v4 = redirect::items(sandbox.dns_ports, AddressFamily::V4).into_iter();
    v4.map(|item| Object::Firewall(netns.clone(), item))
        .chain(name_service_v6(sandbox, netns))
        .collect()
}

fn loopback(netns: &Netns) -> Object {
    existing(
        netns,
        InterfaceName::new("lo").expect("a literal follows the kernel's rule"),
        LinkKind::Existing,
        true,
    )
}

fn existing(netns: &Netns, name: InterfaceName, kind: LinkKind, up: bool) -> Object {
    Object::Link(link(netns, name, kind, up))
}

fn link(netns: &Netns, name: InterfaceName, kind: LinkKind, up: bool) -> Link {
    Link {
        netns: netns.clone(),
        name,
        kind,
        mac: None,
        mtu: None,
        master: None,
        up,
    }
}

fn endpoint(
    one: &Joined<'_>,
    interface: &InterfaceName,
    netns: &Netns,
    rules: Rules<'_>,
) -> Result<Vec<Object>> {
    let addresses = &one.endpoint.addresses;
    let mut state = Vec::new();
    if let (Some(up), model::Scope::Global) = (rules.global_up, one.network.scope) {
        // A link of another kind would take its place.
        let kind = match one.network.driver.as_str() {
            "overlay" => LinkKind::VethPeer,
            _ => LinkKind::Existing,
        };
        state.push(existing(netns, interface.clone(), kind, up));
    }
    let leased = leases::is_leased(one.network);
    // Those that routers announce are the kernel's to make and to drop.
    let announced = leased && one.endpoint.lease_v6.is_none();
    let given = |address: &IpNet| !(announced && matches!(address, IpNet::V6(_)));
    for address in addresses
        .iter()
        .filter(given)
        .chain(addresses.link_local.iter().copied())
    {
        state.push(Object::Address(Address {
            netns: netns.clone(),
            link: interface.clone(),
            address,
        }));
    }
    if leased {
        state.extend(of_the_segment(one, interface, netns, rules));
    }
    let follows_routers = leased && one.network.enable_ipv6;
    if rules.ipv6 && !has_ipv6(addresses) && !follows_routers && carries_ipv6(one) {
        // Without this the kernel gives it a link-local address and listens to router advertisements.
        state.push(sysctl(
            netns,
            format!("net/ipv6/conf/{interface}/disable_ipv6"),
            "1",
        ));
    }
    state.extend(sysctls(&one.endpoint.options, interface, netns)?);
    Ok(state)
}

/// What an interface needs whose addresses somebody else gives.
fn of_the_segment(
    one: &Joined<'_>,
    interface: &InterfaceName,
    netns: &Netns,
    rules: Rules<'_>,
) -> Vec<Object> {
    let of = |family: &str, key: &str, value: &str| {
        sysctl(netns, format!("net/{family}/conf/{interface}/{key}"), value)
    };
    // Or an address that follows another of its subnet would go with it.
    let mut state = vec![of("ipv4", "promote_secondaries", "1")];
    if rules.ipv6 && one.network.enable_ipv6 && carries_ipv6(one) {
        state.push(of("ipv6", "disable_ipv6", "0"));
        state.push(of("ipv6", "autoconf", "1"));
        // Also where the container forwards.
        state.push(of("ipv6", "accept_ra", "2"));
        let way_out = if one.network.internal { "0" } else { "1" };
        state.push(of("ipv6", "accept_ra_defrtr", way_out));
    }
    let mtu = one.endpoint.lease.as_ref().and_then(|lease| lease.mtu);
    // Named also without an MTU: it stays while its addresses come and go.
    state.push(Object::Link(Link {
        mtu: mtu.map(u32::from),
        ..link(netns, interface.clone(), LinkKind::Existing, true)
    }));
    state
}

/// On a link with a smaller MTU the kernel has no IPv6, nor its settings (RFC 8200, section 5).
fn carries_ipv6(one: &Joined<'_>) -> bool {
    one.mtu.is_none_or(|mtu| mtu >= 1280)
}

fn has_ipv6(addresses: &model::EndpointAddresses) -> bool {
    let mut all = addresses.iter().chain(addresses.link_local.iter().copied());
    all.any(|address| matches!(address, IpNet::V6(_)))
}

fn sysctl(netns: &Netns, name: String, value: &str) -> Object {
    Object::Sysctl(Sysctl {
        netns: netns.clone(),
        name,
        value: value.to_owned(),
    })
}

/// Where a connection's sysctls are.
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// `net.ipv4.conf.IFNAME.log_martians=1,…` of the endpoint's options.
fn sysctls(options: &Labels, interface: &InterfaceName, netns: &Netns) -> Result<Vec<Object>> {
    let Some(asked) = options.get(SYSCTLS) else {
        return Ok(Vec::new());
    };
    asked
        .split(',')
        .map(|one| one_sysctl(one.trim(), interface, netns))
        .collect()
}

/// Whether a connection with these options asks for sysctls.
pub(crate) fn asks_for_sysctls(options: &Labels) -> bool {
    options.contains_key(SYSCTLS)
}

/// Refuses what are no sysctls of an interface.
pub(crate) fn check_sysctls(options: &Labels) -> Result<()> {
    sysctls_of_new_links(options).map(drop)
}

/// The sysctls that a connection asks for, as the kernel keeps them for links to come, each with what was asked. Only of
/// groups that it keeps for them.
pub(crate) fn sysctls_of_new_links(options: &Labels) -> Result<BTreeMap<Key, String>> {
    let default = InterfaceName::new("default").expect("a literal follows the rule");
    let kept = sysctls(options, &default, &Netns::Host)?.into_iter();
    let kept = kept.map(|object| object.key()).filter(|key| {
        matches!(key, Key::Sysctl(_, name) if ["net/ipv4/conf/", "net/ipv4/neigh/", "net/ipv6/conf/", "net/ipv6/neigh/"]
            .iter()
            .any(|group| name.starts_with(group)))
    });
    let told = kept.map(|key| {
        let text = match &key {
            Key::Sysctl(_, name) => name.replace("/default/", "/IFNAME/").replace('/', "."),
            other => other.to_string(),
        };
        (key, text)
    });
    Ok(told.collect())
}

fn one_sysctl(text: &str, interface: &InterfaceName, netns: &Netns) -> Result<Object> {
    let refused = || {
        Error::invalid(format!("{text:?} is not a sysctl of an interface"))
            .with_hint("\"net.ipv4.conf.IFNAME.log_martians=1\" would be")
    };
    let (name, value) = text.split_once('=').ok_or_else(refused)?;
    let parts: Vec<_> = name.split('.').collect();
    match parts[..] {
        [
            "net",
            family @ ("ipv4" | "ipv6" | "mpls"),
            group,
            "IFNAME" | "ifname",
            key,
        ] if [group, key].iter().all(|part| is_plain(part)) => Ok(sysctl(
            netns,
            format!("net/{family}/{group}/{interface}/{key}"),
            value,
        )),
        _ => Err(refused()),
    }
}

/// No slash and no dot: it can't lead out of its folder.
fn is_plain(part: &str) -> bool {
    !part.is_empty()
        && part
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// What has to be brought about and what removed to come from `old` to `new`. What goes with a link that has left is in
/// neither.
pub(crate) fn difference(old: &KernelState, new: &KernelState) -> (KernelState, KernelState) {
    let changed = |object: &&Object| old.get(&object.key()) != Some(*object);
    let ensure = new.objects().filter(changed).cloned().collect();
    let named = |object: &'_ Object| match object {
        Object::Link(link) => Some(link.name.clone()),
        other => link_of(other).cloned(),
    };
    let links: Vec<_> = new.objects().filter_map(named).collect();
    let stays = |object: &&Object| match object {
        Object::Link(_) | Object::Sysctl(_) | Object::Namespace(_) => false,
        other => link_of(other).is_none_or(|link| links.contains(link)),
    };
    let remove = old
        .objects()
        .filter(|object| new.get(&object.key()).is_none())
        .filter(stays);
    (ensure, remove.cloned().collect())
}

fn link_of(object: &Object) -> Option<&InterfaceName> {
    match object {
        Object::Address(address) => Some(&address.link),
        Object::Route(route) => Some(&route.link),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
