//! Pure: the book of one pool. Which addresses may be handed out, which are, and the next free one in O(log n).
//!
//! An IPv4 subnet's network and broadcast addresses are never handed out unless it is a /31 (RFC 3021), and of an IPv6
//! subnet the first address is the routers' anycast address (RFC 4291, section 2.6.1).

use std::{collections::BTreeSet, net::IpAddr};

use model::{AddressFamily, Subnet};

use crate::{PoolUse, intervals::Intervals, number};

/// What is taken of one subnet.
#[derive(Debug, Clone)]
pub struct Book {
    subnet: Subnet,
    range: Option<Subnet>,
    taken: Intervals,
}

/// Why an address can't be handed out from a pool at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// It is not in the subnet.
    Outside,
    /// It is the subnet's network address (IPv6: the routers' anycast address).
    Network,
    /// It is the subnet's broadcast address.
    Broadcast,
}

/// The lowest and highest address of a subnet that a host may wear; none when there is not even one.
pub fn usable(subnet: Subnet) -> Option<(IpAddr, IpAddr)> {
    let (first, last) = usable_numbers(subnet)?;
    let address = |n| number::address(subnet.family(), n);
    Some((address(first), address(last)))
}

fn usable_numbers(subnet: Subnet) -> Option<(u128, u128)> {
    let (first, last) = number::bounds(subnet);
    let (low, high) = match (subnet.family(), subnet.prefix_len()) {
        (AddressFamily::V4, 31..) => (first, last),
        (AddressFamily::V4, _) => (first + 1, last - 1),
        (AddressFamily::V6, _) => (first.checked_add(1)?, last),
    };
    (low <= high).then_some((low, high))
}

/// Whether a subnet has room for a gateway and one endpoint.
pub fn has_room(subnet: Subnet) -> bool {
    usable_numbers(subnet).is_some_and(|(low, high)| high > low)
}

/// Why `address` can't be handed out from `subnet`, if so.
pub fn unusable(subnet: Subnet, address: IpAddr) -> Option<Unusable> {
    if !subnet.contains(&address) {
        return Some(Unusable::Outside);
    }
    let wanted = number::of(address);
    match usable_numbers(subnet) {
        Some((low, high)) if wanted >= low && wanted <= high => None,
        _ if address == subnet.network() => Some(Unusable::Network),
        _ => Some(Unusable::Broadcast),
    }
}

/// How much of a subnet is used, when these of its addresses are taken. Counts beyond 64 bits are told as the largest.
pub fn used(subnet: Subnet, range: Option<Subnet>, taken: &BTreeSet<IpAddr>) -> PoolUse {
    let count = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
    let (first, last) = number::bounds(subnet);
    let (low, high) = usable_numbers(subnet).unwrap_or((last, first));
    // Network and broadcast addresses count as used whether or not somebody has set them aside.
    let nobodys = (low.saturating_sub(first)).saturating_add(last.saturating_sub(high));
    let (from, to) = range.map_or((low, high), |range| {
        let (first, last) = number::bounds(range);
        (low.max(first), high.min(last))
    });
    let between = |low: u128, high: u128| {
        let held = taken.iter().map(|address| number::of(*address));
        held.filter(|number| *number >= low && *number <= high).count() as u128
    };
    let room = to.checked_sub(from).map_or(0, |size| size.saturating_add(1));
    PoolUse {
        subnet,
        in_use: count(nobodys.saturating_add(between(low, high))),
        available: count(room.saturating_sub(between(from, to))),
    }
}

impl Book {
    /// An empty book. Dynamic addresses come from `range`, where one is given.
    pub fn new(subnet: Subnet, range: Option<Subnet>) -> Self {
        Self {
            subnet,
            range,
            taken: Intervals::default(),
        }
    }

    /// Notes an address as taken. False if it was.
    pub fn take(&mut self, address: IpAddr) -> bool {
        let number = number::of(address);
        if self.taken.contains(number) {
            return false;
        }
        self.taken.insert(number, number);
        true
    }

    /// Notes an address as free.
    pub fn free(&mut self, address: IpAddr) {
        let number = number::of(address);
        self.taken.remove(number, number);
    }

    /// Whether an address is taken.
    pub fn is_taken(&self, address: IpAddr) -> bool {
        self.taken.contains(number::of(address))
    }

    /// The lowest free address of the range.
    pub fn next(&self) -> Option<IpAddr> {
        self.next_in(self.range.unwrap_or(self.subnet))
    }

    /// The lowest free address of the whole subnet, which is where a gateway comes from: a range is for endpoints.
    pub fn next_anywhere(&self) -> Option<IpAddr> {
        self.next_in(self.subnet)
    }

    fn next_in(&self, window: Subnet) -> Option<IpAddr> {
        let (low, high) = usable_numbers(self.subnet)?;
        let (first, last) = number::bounds(window);
        let gap = self.taken.first_gap(low.max(first), high.min(last))?;
        Some(number::address(self.subnet.family(), gap))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().expect("a subnet")
    }

    fn all(text: &str) -> Vec<String> {
        let mut book = Book::new(subnet(text), None);
        std::iter::from_fn(|| {
            let next = book.next()?;
            assert!(book.take(next), "{next} was handed out before");
            Some(next.to_string())
        })
        .take(20)
        .collect()
    }

    #[test]
    fn network_and_broadcast_addresses_are_never_handed_out() {
        assert_eq!(all("10.0.0.0/30"), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(all("10.0.0.0/31"), ["10.0.0.0", "10.0.0.1"]);
        assert_eq!(all("10.0.0.7/32"), ["10.0.0.7"]);
        assert_eq!(all("fd00::/126"), ["fd00::1", "fd00::2", "fd00::3"]);
        assert_eq!(all("fd00::/128"), Vec::<String>::new());
        assert_eq!(all("255.255.255.252/30"), ["255.255.255.253", "255.255.255.254"]);
    }

    #[test]
    fn dynamic_addresses_come_from_the_range_and_a_gateway_from_anywhere() {
        let book = Book::new(subnet("10.0.0.0/16"), Some(subnet("10.0.5.0/24")));
        assert_eq!(book.next(), Some("10.0.5.0".parse().expect("an address")));
        assert_eq!(
            book.next_anywhere(),
            Some("10.0.0.1".parse().expect("an address"))
        );
    }

    #[test]
    fn a_range_at_either_end_leaves_the_reserved_addresses_out() {
        let low = Book::new(subnet("10.0.0.0/24"), Some(subnet("10.0.0.0/30")));
        assert_eq!(low.next(), Some("10.0.0.1".parse().expect("an address")));
        let mut high = Book::new(subnet("10.0.0.0/24"), Some(subnet("10.0.0.254/31")));
        assert!(high.take("10.0.0.254".parse().expect("an address")));
        assert_eq!(high.next(), None);
    }

    #[test]
    fn what_can_never_be_handed_out_says_why() {
        let rows = [
            ("10.0.0.0/24", "10.0.1.1", Some(Unusable::Outside)),
            ("10.0.0.0/24", "10.0.0.0", Some(Unusable::Network)),
            ("10.0.0.0/24", "10.0.0.255", Some(Unusable::Broadcast)),
            ("10.0.0.0/24", "10.0.0.9", None),
            ("fd00::/64", "fd00::", Some(Unusable::Network)),
            ("fd00::/64", "fd00::ffff:ffff:ffff:ffff", None),
            ("10.0.0.0/24", "fd00::1", Some(Unusable::Outside)),
        ];
        for (pool, address, expected) in rows {
            let address = address.parse().expect("an address");
            assert_eq!(unusable(subnet(pool), address), expected, "{pool} {address}");
        }
    }

    #[test]
    fn a_subnet_without_room_for_a_gateway_and_an_endpoint_is_too_small() {
        for (pool, room) in [
            ("10.0.0.0/30", true),
            ("10.0.0.0/31", true),
            ("10.0.0.0/32", false),
            ("fd00::/126", true),
            ("fd00::/127", false),
        ] {
            assert_eq!(has_room(subnet(pool)), room, "{pool}");
        }
    }

    #[test]
    fn what_is_used_and_what_is_left_is_counted_by_range() {
        type Row<'a> = (&'a str, Option<&'a str>, &'a [&'a str], u64, u64);
        let rows: [Row<'_>; 6] = [
            ("10.0.0.0/24", None, &["10.0.0.1"], 3, 253),
            (
                "10.0.0.0/24",
                Some("10.0.0.128/25"),
                &["10.0.0.1", "10.0.0.129"],
                4,
                126,
            ),
            ("10.0.0.0/31", None, &["10.0.0.0"], 1, 1),
            ("fd00::/64", None, &["fd00::1"], 2, u64::MAX - 1),
            ("fd00::/48", None, &[], 1, u64::MAX),
            ("10.0.0.0/30", None, &["10.0.0.1", "10.0.0.2"], 4, 0),
        ];
        for (pool, range, taken, in_use, available) in rows {
            let taken = taken
                .iter()
                .map(|text| text.parse().expect("an address"))
                .collect();
            let found = used(subnet(pool), range.map(subnet), &taken);
            assert_eq!(
                (found.in_use, found.available),
                (in_use, available),
                "{pool} {range:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_address_is_handed_out_twice_and_none_is_lost(
            steps in prop::collection::vec(prop::option::of(0_usize..40), 1..200),
        ) {
            let mut book = Book::new(subnet("10.0.0.0/27"), None);
            let mut held = BTreeSet::new();
            for step in steps {
                match step {
                    None => match book.next() {
                        Some(address) => {
                            prop_assert!(book.take(address));
                            prop_assert!(held.insert(address), "{} twice", address);
                        }
                        None => prop_assert_eq!(held.len(), 30),
                    },
                    Some(at) => {
                        if let Some(address) = held.iter().nth(at).copied() {
                            held.remove(&address);
                            book.free(address);
                        }
                    }
                }
            }
            prop_assert!(held.iter().all(|address| book.is_taken(*address)));
        }
    }
}
