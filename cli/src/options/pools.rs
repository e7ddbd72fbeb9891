//! `--subnet`, `--ip-range`, `--gateway` and `--aux-address` of a new network, put together.
//!
//! They are separate flags, each repeatable, so each range, gateway and auxiliary address is given to the subnet
//! that contains it. What fits nowhere is refused here, before the daemon is asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api_types::{IpamPool, Map};

/// A prefix as typed; whether it has host bits is for the daemon to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prefix {
    first: u128,
    last: u128,
    v4: bool,
}

impl Prefix {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let length: u32 = length.parse().ok()?;
        let (number, bits) = number(address);
        if length > bits {
            return None;
        }
        let host = if bits == length {
            0
        } else {
            u128::MAX >> (128 - (bits - length))
        };
        Some(Self {
            first: number & !host,
            last: number | host,
            v4: address.is_ipv4(),
        })
    }

    /// `0.0.0.0/24` and `::/96` ask for a subnet of that size, and overlap nothing.
    fn is_size_only(self) -> bool {
        self.first == 0
    }

    fn contains(self, other: Self) -> bool {
        self.v4 == other.v4 && self.first <= other.first && other.last <= self.last
    }

    fn overlaps(self, other: Self) -> bool {
        self.v4 == other.v4 && self.first <= other.last && other.first <= self.last
    }
}

fn number(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), Ipv4Addr::BITS),
        IpAddr::V6(v6) => (u128::from(v6), Ipv6Addr::BITS),
    }
}

fn single(text: &str) -> Option<Prefix> {
    let address: IpAddr = text.parse().ok()?;
    let (number, _) = number(address);
    Some(Prefix {
        first: number,
        last: number,
        v4: address.is_ipv4(),
    })
}

/// Puts the flags together, in the order of the subnets.
pub(crate) fn pools(
    subnets: &[String],
    ranges: &[String],
    gateways: &[String],
    auxiliary: &[String],
) -> Result<Vec<IpamPool>, String> {
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err("every ip-range or gateway must have a corresponding subnet".into());
    }
    let mut pools: Vec<(Prefix, IpamPool)> = Vec::new();
    for text in subnets {
        let prefix =
            Prefix::parse(text).ok_or_else(|| format!("invalid subnet {text:?}: write ADDRESS/LENGTH"))?;
        let clash = pools.iter().find(|(other, _)| other.overlaps(prefix));
        if let Some((_, other)) = clash.filter(|_| !prefix.is_size_only()) {
            return Err(format!(
                "subnets {} and {text} of one network overlap",
                other.subnet
            ));
        }
        pools.push((
            prefix,
            IpamPool {
                subnet: text.clone(),
                ..IpamPool::default()
            },
        ));
    }
    for text in ranges {
        let prefix =
            Prefix::parse(text).ok_or_else(|| format!("invalid ip-range {text:?}: write ADDRESS/LENGTH"))?;
        let pool = holder(&mut pools, prefix, "ip-range", text)?;
        once(&mut pool.ip_range, text, "ip-range", &pool.subnet)?;
    }
    for text in gateways {
        let prefix = single(text).ok_or_else(|| format!("invalid gateway {text:?}"))?;
        let pool = holder(&mut pools, prefix, "gateway", text)?;
        once(&mut pool.gateway, text, "gateway", &pool.subnet)?;
    }
    for (name, address) in auxiliary_addresses(auxiliary)? {
        let prefix = single(&address).ok_or_else(|| format!("invalid aux-address {address:?}"))?;
        let pool = holder(&mut pools, prefix, "aux-address", &address)?;
        pool.auxiliary_addresses.insert(name, address);
    }
    Ok(pools.into_iter().map(|(_, pool)| pool).collect())
}

fn auxiliary_addresses(given: &[String]) -> Result<Map<String>, String> {
    given
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, address)) if !name.is_empty() => Ok((name.to_owned(), address.to_owned())),
            _ => Err(format!("invalid aux-address {text:?}: write NAME=ADDRESS")),
        })
        .collect()
}

/// The pool that contains the prefix.
fn holder<'p>(
    pools: &'p mut [(Prefix, IpamPool)],
    prefix: Prefix,
    what: &str,
    text: &str,
) -> Result<&'p mut IpamPool, String> {
    pools
        .iter_mut()
        .find(|(subnet, _)| subnet.contains(prefix))
        .map(|(_, pool)| pool)
        .ok_or_else(|| format!("no matching subnet for {what} {text}"))
}

fn once(place: &mut String, text: &str, what: &str, subnet: &str) -> Result<(), String> {
    if !place.is_empty() {
        return Err(format!(
            "cannot configure multiple {what}s ({place}, {text}) on subnet {subnet}"
        ));
    }
    text.clone_into(place);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        name: &'static str,
        flags: [&'static [&'static str]; 4],
        expected: Result<&'static str, &'static str>,
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn each_address_goes_to_the_subnet_that_contains_it() {
        let cases = [
            Case {
                name: "nothing",
                flags: [&[], &[], &[], &[]],
                expected: Ok(""),
            },
            Case {
                name: "one subnet with everything",
                flags: [
                    &["10.1.0.0/16"],
                    &["10.1.1.0/24"],
                    &["10.1.0.9"],
                    &["a=10.1.0.10", "b=10.1.0.11"],
                ],
                expected: Ok("10.1.0.0/16 range 10.1.1.0/24 gateway 10.1.0.9 a=10.1.0.10 b=10.1.0.11"),
            },
            Case {
                name: "two families in any order",
                flags: [&["10.1.0.0/16", "fd00::/64"], &[], &["fd00::1", "10.1.0.1"], &[]],
                expected: Ok("10.1.0.0/16 gateway 10.1.0.1; fd00::/64 gateway fd00::1"),
            },
            Case {
                name: "two subnets that are only sizes don't overlap",
                flags: [&["0.0.0.0/24", "0.0.0.0/24"], &[], &[], &[]],
                expected: Ok("0.0.0.0/24; 0.0.0.0/24"),
            },
            Case {
                name: "overlapping subnets",
                flags: [&["10.1.0.0/16", "10.1.2.0/24"], &[], &[], &[]],
                expected: Err("overlap"),
            },
            Case {
                name: "a gateway of nobody's subnet",
                flags: [&["10.1.0.0/16"], &[], &["10.2.0.1"], &[]],
                expected: Err("no matching subnet for gateway 10.2.0.1"),
            },
            Case {
                name: "a gateway of the other family",
                flags: [&["10.1.0.0/16"], &[], &["fd00::1"], &[]],
                expected: Err("no matching subnet"),
            },
            Case {
                name: "a range without a subnet",
                flags: [&[], &["10.1.0.0/24"], &[], &[]],
                expected: Err("every ip-range or gateway must have a corresponding subnet"),
            },
            Case {
                name: "a range wider than its subnet",
                flags: [&["10.1.1.0/24"], &["10.1.0.0/16"], &[], &[]],
                expected: Err("no matching subnet for ip-range"),
            },
            Case {
                name: "two gateways of one subnet",
                flags: [
                    &["10.1.0.0/16", "10.2.0.0/16"],
                    &[],
                    &["10.1.0.1", "10.1.0.2"],
                    &[],
                ],
                expected: Err("cannot configure multiple gateways"),
            },
            Case {
                name: "an auxiliary address outside",
                flags: [&["10.1.0.0/16"], &[], &[], &["a=10.2.0.1"]],
                expected: Err("no matching subnet for aux-address"),
            },
            Case {
                name: "an auxiliary address without a name",
                flags: [&["10.1.0.0/16"], &[], &[], &["10.1.0.1"]],
                expected: Err("write NAME=ADDRESS"),
            },
            Case {
                name: "no prefix",
                flags: [&["10.1.0.0"], &[], &[], &[]],
                expected: Err("invalid subnet"),
            },
            Case {
                name: "nonsense",
                flags: [&["zzz"], &[], &[], &[]],
                expected: Err("invalid subnet"),
            },
            Case {
                name: "too long",
                flags: [&["10.1.0.0/33"], &[], &[], &[]],
                expected: Err("invalid subnet"),
            },
        ];
        for case in cases {
            let [subnets, ranges, gateways, auxiliary] = case
                .flags
                .map(|flags| flags.iter().map(ToString::to_string).collect::<Vec<_>>());
            let got = pools(&subnets, &ranges, &gateways, &auxiliary);
            match (got, case.expected) {
                (Ok(pools), Ok(expected)) => assert_eq!(describe(&pools), expected, "{}", case.name),
                (Err(message), Err(part)) => assert!(message.contains(part), "{}: {message}", case.name),
                (got, _) => panic!("{}: {got:?}", case.name),
            }
        }
    }

    fn describe(pools: &[IpamPool]) -> String {
        let one = |pool: &IpamPool| {
            let mut text = pool.subnet.clone();
            if !pool.ip_range.is_empty() {
                text += &format!(" range {}", pool.ip_range);
            }
            if !pool.gateway.is_empty() {
                text += &format!(" gateway {}", pool.gateway);
            }
            for (name, address) in &pool.auxiliary_addresses {
                text += &format!(" {name}={address}");
            }
            text
        };
        pools.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}
