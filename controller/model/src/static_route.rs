//! Routes that containers get beside those of their networks: `cnm.routes=SUBNET=NEXTHOP[,SUBNET=link]`, as an option of
//! a network for every container on it, or of one connection.
//!
//! The option is checked when a network is made and when a connection is; whoever reads a record later leaves out what
//! it does not understand.

use std::net::IpAddr;

use crate::{AddressFamily, IpNet, Labels, Subnet};

/// The option's key.
const KEY: &str = "cnm.routes";
/// What stands for "no next hop: the destination is on the link itself".
const LINK: &str = "link";
/// As many as anybody could write down by hand.
const MOST: usize = 64;

/// A route of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticRoute {
    /// Destination.
    pub destination: Subnet,
    /// Next hop; none for a destination on the link itself.
    pub next_hop: Option<IpAddr>,
}

/// A route that can't be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("route {route:?}: {reason}")]
pub struct StaticRouteError {
    /// The route as typed.
    pub route: String,
    /// What is wrong with it.
    pub reason: String,
}

impl StaticRoute {
    /// Reads the option; everything that is wrong at once.
    pub fn parse(options: &Labels) -> Result<Vec<Self>, Vec<StaticRouteError>> {
        let (routes, wrong) = read(options);
        if wrong.is_empty() { Ok(routes) } else { Err(wrong) }
    }

    /// Reads the option and what of it a network with these subnets can't have; everything that is wrong at once.
    pub fn parse_for(options: &Labels, subnets: &[Subnet]) -> Result<Vec<Self>, Vec<StaticRouteError>> {
        let (routes, mut wrong) = read(options);
        wrong.extend(routes.iter().filter_map(|route| route.misfit(subnets)));
        if wrong.is_empty() { Ok(routes) } else { Err(wrong) }
    }

    /// Reads what can be understood and leaves out the rest.
    pub fn understood(options: &Labels) -> Vec<Self> {
        read(options).0
    }

    /// Why a network with these subnets can't have it.
    fn misfit(&self, subnets: &[Subnet]) -> Option<StaticRouteError> {
        let family = self.destination.family();
        let own = || subnets.iter().filter(|subnet| subnet.family() == family);
        if own().next().is_none() {
            return Some(self.wrong(format!("the network has no {family} subnet")));
        }
        if let Some(subnet) = own().find(|subnet| subnet.overlaps(self.destination)) {
            return Some(self.wrong(format!("it overlaps the network's own subnet {subnet}")));
        }
        let hop = self.next_hop.filter(|hop| !is_link_local(*hop))?;
        let Some(around) = own().find(|subnet| subnet.contains(&hop)) else {
            let all: Vec<_> = own().map(ToString::to_string).collect();
            return Some(self.wrong(format!(
                "the next hop is in no subnet of the network ({})",
                all.join(", ")
            )));
        };
        is_nobodys(hop, *around)
            .then(|| self.wrong("the next hop is the subnet's network or broadcast address".to_owned()))
    }

    fn wrong(&self, reason: String) -> StaticRouteError {
        let hop = self
            .next_hop
            .map_or_else(|| LINK.to_owned(), |hop| hop.to_string());
        StaticRouteError {
            route: format!("{}={hop}", self.destination),
            reason,
        }
    }
}

/// On every link, whatever a network's subnets are (RFC 4291, 2.5.6).
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The first and last addresses of an IPv4 subnet are no host's, but in the smallest ones (RFC 3021).
fn is_nobodys(address: IpAddr, subnet: Subnet) -> bool {
    let IpNet::V4(net) = subnet.net() else {
        return false;
    };
    net.prefix_len() < 31 && (address == net.network() || address == net.broadcast())
}

fn read(options: &Labels) -> (Vec<StaticRoute>, Vec<StaticRouteError>) {
    let (mut routes, mut wrong) = (Vec::<StaticRoute>::new(), Vec::new());
    let Some(text) = options.get(KEY) else {
        return (routes, wrong);
    };
    // Docker's client cuts the options of a connection at commas.
    for (count, part) in text.split([',', ';']).map(str::trim).enumerate() {
        let refused = |reason: String| StaticRouteError {
            route: part.to_owned(),
            reason,
        };
        if count == MOST {
            wrong.push(refused(format!("there are more than {MOST}")));
            break;
        }
        match one(part) {
            Err(reason) => wrong.push(refused(reason)),
            Ok(route) if routes.iter().any(|other| other.destination == route.destination) => {
                wrong.push(refused("the destination is there twice".to_owned()));
            }
            Ok(route) => routes.push(route),
        }
    }
    (routes, wrong)
}

fn one(text: &str) -> Result<StaticRoute, String> {
    let (destination, hop) = text.split_once('=').ok_or(
        "SUBNET=NEXTHOP is wanted, such as 10.9.0.0/16=172.18.0.5, or SUBNET=link for one on the link itself",
    )?;
    let destination: Subnet = destination
        .trim()
        .parse()
        .map_err(|error: crate::SubnetError| error.to_string())?;
    refuse_destination(destination)?;
    let next_hop = match hop.trim() {
        LINK => None,
        hop => Some(next_hop(hop, destination.family())?),
    };
    Ok(StaticRoute {
        destination,
        next_hop,
    })
}

fn refuse_destination(destination: Subnet) -> Result<(), String> {
    let address = destination.addr();
    if destination.prefix_len() == 0 {
        return Err(
            "the default route is the gateway's: the connection with the highest gw-priority has it"
                .to_owned(),
        );
    }
    match address.is_multicast() || address.is_loopback() || is_link_local(address) {
        true => Err("multicast, loopback and link-local addresses are not routed".to_owned()),
        false => Ok(()),
    }
}

fn next_hop(text: &str, family: AddressFamily) -> Result<IpAddr, String> {
    let hop: IpAddr = text
        .parse()
        .map_err(|_| format!("{text:?} is not an address; \"{LINK}\" stands for none"))?;
    if AddressFamily::of(hop) != family {
        return Err(format!(
            "the next hop of an {family} route is an {family} address"
        ));
    }
    match hop.is_unspecified() || hop.is_multicast() || hop.is_loopback() {
        true => Err(format!("{hop} is no host of the network")),
        false => Ok(hop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Labels {
        Labels::from([(KEY.to_owned(), text.to_owned())])
    }

    fn subnets(texts: &[&str]) -> Vec<Subnet> {
        texts.iter().map(|text| text.parse().expect("a subnet")).collect()
    }

    fn texts(routes: &[StaticRoute]) -> Vec<String> {
        let text = |route: &StaticRoute| match route.next_hop {
            Some(hop) => format!("{} via {hop}", route.destination),
            None => format!("{} on the link", route.destination),
        };
        routes.iter().map(text).collect()
    }

    #[test]
    fn routes_of_both_families_with_and_without_next_hop_are_read() {
        let text =
            "10.9.0.0/16=172.18.0.5, 10.10.0.0/16=link;2001:db8:9::/48=fd00::5;2001:db8:8::/48=fe80::1";
        let routes = StaticRoute::parse_for(&options(text), &subnets(&["172.18.0.0/24", "fd00::/64"]));
        assert_eq!(
            texts(&routes.expect("good routes")),
            [
                "10.9.0.0/16 via 172.18.0.5",
                "10.10.0.0/16 on the link",
                "2001:db8:9::/48 via fd00::5",
                "2001:db8:8::/48 via fe80::1",
            ]
        );
        assert_eq!(StaticRoute::parse(&Labels::new()), Ok(Vec::new()));
    }

    #[test]
    fn what_can_not_be_meant_is_told_with_its_reason() {
        let rows = [
            ("", "SUBNET=NEXTHOP is wanted"),
            ("10.9.0.0/16", "SUBNET=NEXTHOP is wanted"),
            ("10.9.0.1/16=172.18.0.5", "did you mean \"10.9.0.0/16\""),
            ("ten=172.18.0.5", "is not a subnet"),
            ("10.9.0.0/16=router", "is not an address"),
            ("10.9.0.0/16=", "is not an address"),
            ("10.9.0.0/16=fd00::5", "is an IPv4 address"),
            ("2001:db8::/32=172.18.0.5", "is an IPv6 address"),
            ("0.0.0.0/0=172.18.0.5", "gw-priority"),
            ("::/0=fd00::5", "gw-priority"),
            ("224.0.0.0/8=172.18.0.5", "not routed"),
            ("10.9.0.0/16=0.0.0.0", "is no host"),
            (
                "10.9.0.0/16=172.19.0.5",
                "in no subnet of the network (172.18.0.0/24)",
            ),
            ("10.9.0.0/16=172.18.0.255", "network or broadcast address"),
            ("172.18.0.128/25=172.18.0.5", "overlaps the network's own subnet"),
            ("172.16.0.0/12=172.18.0.5", "overlaps the network's own subnet"),
            ("2001:db8::/32=link", "has no IPv6 subnet"),
        ];
        for (text, wanted) in rows {
            let wrong = StaticRoute::parse_for(&options(text), &subnets(&["172.18.0.0/24"]));
            let wrong = wrong.expect_err(text);
            assert_eq!(wrong.len(), 1, "{text}: {wrong:?}");
            assert!(wrong[0].to_string().contains(wanted), "{text}: {}", wrong[0]);
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_and_the_rest_is_understood() {
        let text = "10.9.0.0/16=link,10.9.0.0/16=172.18.0.5,junk,10.8.0.0/16=9.9.9.9";
        let wrong = StaticRoute::parse_for(&options(text), &subnets(&["172.18.0.0/24"]));
        let wrong: Vec<_> = wrong
            .expect_err("three are wrong")
            .into_iter()
            .map(|one| one.route)
            .collect();
        assert_eq!(wrong, ["10.9.0.0/16=172.18.0.5", "junk", "10.8.0.0/16=9.9.9.9"]);
        assert_eq!(
            texts(&StaticRoute::understood(&options(text))),
            ["10.9.0.0/16 on the link", "10.8.0.0/16 via 9.9.9.9"]
        );
        let many: Vec<_> = (0..70).map(|number| format!("10.{number}.0.0/16=link")).collect();
        assert_eq!(StaticRoute::understood(&options(&many.join(","))).len(), MOST);
    }
}
