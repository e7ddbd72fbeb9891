//! Pure: the pools of one address space and family; overlap by name, and the next free subnet of the default pools.

use std::{collections::BTreeMap, net::IpAddr, str::FromStr};

use model::{AddressFamily, NodeId, Subnet};

use crate::{intervals::Intervals, number};

/// A range that networks without a subnet of their own are cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultPool {
    base: Subnet,
    size: u8,
}

/// Why text is no default pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a default address pool: {reason}")]
pub struct DefaultPoolError {
    text: String,
    reason: String,
}

impl DefaultPool {
    /// A range and the prefix length of the subnets cut from it.
    pub fn new(base: Subnet, size: u8) -> Result<Self, DefaultPoolError> {
        if size >= base.prefix_len() && size <= base.max_prefix_len() {
            return Ok(Self { base, size });
        }
        Err(DefaultPoolError {
            text: format!("base={base},size={size}"),
            reason: format!(
                "subnets of {base} have a prefix length from {} to {}",
                base.prefix_len(),
                base.max_prefix_len()
            ),
        })
    }

    /// The range.
    pub const fn base(&self) -> Subnet {
        self.base
    }

    /// The built-in ones: 172.18.0.0/16 to 172.31.0.0/16 and then 192.168.0.0/16 in /24s, and the host's own /48 of
    /// unique local addresses (RFC 4193, whose 40 random bits are taken from the node's id) in /64s.
    pub fn built_in(node: &NodeId) -> Vec<Self> {
        let v4 = (18..=31)
            .map(|second| IpAddr::from([172, second, 0, 0]))
            .chain([IpAddr::from([192, 168, 0, 0])]);
        let id = node.as_bytes();
        let mut ula = [0; 16];
        ula[0] = 0xfd;
        ula[1..6].copy_from_slice(&id[..5]);
        let cut = |address: IpAddr, base, size| {
            let base = number::subnet(AddressFamily::of(address), number::of(address), base)?;
            Some(Self { base, size })
        };
        v4.map(|address| cut(address, 16, 24))
            .chain([cut(IpAddr::from(ula), 48, 64)])
            .flatten()
            .collect()
    }
}

impl FromStr for DefaultPool {
    type Err = DefaultPoolError;

    /// Reads `base=10.10.0.0/16,size=24`.
    fn from_str(text: &str) -> Result<Self, DefaultPoolError> {
        let error = |reason: String| DefaultPoolError {
            text: text.to_owned(),
            reason,
        };
        let wanted = || error("\"base=10.10.0.0/16,size=24\" would be".to_owned());
        let (mut base, mut size) = (None, None);
        for part in text.split(',') {
            match part.split_once('=').ok_or_else(wanted)? {
                ("base", value) => base = Some(value.parse().map_err(|e| error(format!("{e}")))?),
                ("size", value) => size = Some(value.parse().map_err(|_| wanted())?),
                _ => return Err(wanted()),
            }
        }
        Self::new(base.ok_or_else(wanted)?, size.ok_or_else(wanted)?)
    }
}

/// Who has a subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occupant {
    /// A network, by name.
    Network(String),
    /// A route of the host, by the name of its link.
    Route(String),
}

/// Subnets of one family that can't overlap, each with its network's name.
#[derive(Debug, Clone, Default)]
pub struct Space {
    by_first: BTreeMap<u128, (Subnet, String)>,
    taken: Intervals,
}

impl Space {
    /// Notes a pool.
    pub fn insert(&mut self, subnet: Subnet, network: String) {
        let (first, last) = number::bounds(subnet);
        self.taken.insert(first, last);
        self.by_first.insert(first, (subnet, network));
    }

    /// Forgets a pool.
    pub fn remove(&mut self, subnet: Subnet) {
        let (first, last) = number::bounds(subnet);
        if self
            .by_first
            .get(&first)
            .is_some_and(|(known, _)| *known == subnet)
        {
            self.by_first.remove(&first);
            self.taken.remove(first, last);
        }
    }

    /// The pool that a subnet overlaps.
    pub fn overlap(&self, subnet: Subnet) -> Option<(Subnet, &str)> {
        let (first, last) = number::bounds(subnet);
        let (_, (other, name)) = self.by_first.range(..=last).next_back()?;
        (number::bounds(*other).1 >= first).then_some((*other, name.as_str()))
    }

    /// The first free subnet of the default pools, of `size` where that is given. Leaves out what overlaps `avoid`.
    pub fn next(
        &self,
        pools: &[DefaultPool],
        family: AddressFamily,
        size: Option<u8>,
        avoid: &[Subnet],
    ) -> Option<Subnet> {
        let mut taken = self.taken.clone_if(avoid);
        for subnet in avoid.iter().filter(|subnet| subnet.family() == family) {
            let (first, last) = number::bounds(*subnet);
            taken.to_mut().insert(first, last);
        }
        pools
            .iter()
            .filter(|pool| pool.base.family() == family)
            .find_map(|pool| first_free(&taken, *pool, size.unwrap_or(pool.size)))
    }
}

impl Intervals {
    fn clone_if(&self, avoid: &[Subnet]) -> std::borrow::Cow<'_, Self> {
        if avoid.is_empty() {
            std::borrow::Cow::Borrowed(self)
        } else {
            std::borrow::Cow::Owned(self.clone())
        }
    }
}

/// Walks from gap to gap; a gap that is too narrow for an aligned subnet is stepped over.
fn first_free(taken: &Intervals, pool: DefaultPool, size: u8) -> Option<Subnet> {
    if size < pool.base.prefix_len() || size > pool.base.max_prefix_len() {
        return None;
    }
    let (mut low, high) = number::bounds(pool.base);
    loop {
        let gap = taken.first_gap(low, high)?;
        let around = number::subnet(pool.base.family(), gap, size)?;
        let (first, last) = number::bounds(around);
        // A gap in the middle of a subnet: its aligned start is taken, so go on behind it.
        if first >= low && last <= high && taken.meets(first, last).is_none() {
            return Some(around);
        }
        low = last.checked_add(1)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().expect("a subnet")
    }

    fn pools() -> Vec<DefaultPool> {
        DefaultPool::built_in(&NodeId::from_bytes([0xab; 32]))
    }

    #[test]
    fn the_built_in_pools_give_3840_small_networks_in_order() {
        let (mut space, pools) = (Space::default(), pools());
        let next = |space: &Space| space.next(&pools, AddressFamily::V4, None, &[]);
        let mut count = 0;
        while let Some(found) = next(&space) {
            match count {
                0 => assert_eq!(found, subnet("172.18.0.0/24")),
                1 => assert_eq!(found, subnet("172.18.1.0/24")),
                3583 => assert_eq!(found, subnet("172.31.255.0/24")),
                3584 => assert_eq!(found, subnet("192.168.0.0/24")),
                _ => {}
            }
            assert_eq!(space.overlap(found), None);
            space.insert(found, format!("n{count}"));
            count += 1;
        }
        assert_eq!(count, 3584 + 256);
        space.remove(subnet("172.20.7.0/24"));
        assert_eq!(
            next(&space),
            Some(subnet("172.20.7.0/24")),
            "what came back is used again"
        );
    }

    #[test]
    fn ipv6_networks_come_from_the_hosts_own_unique_local_prefix() {
        let found = Space::default().next(&pools(), AddressFamily::V6, None, &[]);
        assert_eq!(found, Some(subnet("fdab:abab:abab::/64")));
    }

    #[test]
    fn a_subnet_in_use_elsewhere_is_stepped_over() {
        let avoid = [subnet("172.18.0.0/15"), subnet("172.20.0.128/25")];
        let found = Space::default().next(&pools(), AddressFamily::V4, None, &avoid);
        assert_eq!(found, Some(subnet("172.20.1.0/24")));
    }

    #[test]
    fn a_size_alone_is_cut_from_the_default_pools() {
        let next = |size| Space::default().next(&pools(), AddressFamily::V4, Some(size), &[]);
        assert_eq!(next(20), Some(subnet("172.18.0.0/20")));
        assert_eq!(next(8), None, "no pool is that large");
    }

    #[test]
    fn overlap_names_the_other_network_both_ways_round() {
        let mut space = Space::default();
        space.insert(subnet("10.1.0.0/16"), "lab".to_owned());
        for other in ["10.0.0.0/8", "10.1.2.0/24", "10.1.0.0/16"] {
            assert_eq!(
                space.overlap(subnet(other)),
                Some((subnet("10.1.0.0/16"), "lab")),
                "{other}"
            );
        }
        assert_eq!(space.overlap(subnet("10.2.0.0/16")), None);
        space.remove(subnet("10.1.0.0/24"));
        assert!(
            space.overlap(subnet("10.1.0.0/16")).is_some(),
            "another pool of the same start"
        );
    }

    #[test]
    fn a_default_pool_is_read_as_docker_writes_it() {
        let pool: DefaultPool = "base=10.10.0.0/16,size=24".parse().expect("a pool");
        assert_eq!(Ok(pool), DefaultPool::new(subnet("10.10.0.0/16"), 24));
        for bad in [
            "",
            "base=10.10.0.0/16",
            "size=24",
            "base=10.10.0.0/16,size=8",
            "base=10.1.0.1/16,size=24",
            "a=b",
        ] {
            assert!(bad.parse::<DefaultPool>().is_err(), "{bad:?}");
        }
    }
}
