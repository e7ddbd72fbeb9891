//! Pure: which endpoint is a sandbox's default gateway, for each family on its own.
//!
//! Higher priority first; then any other network before the gateway bridge; then one with a way out before an internal
//! one; then the one that offers more gateways; then by network name.

use std::{cmp::Reverse, net::IpAddr};

use model::EndpointId;

/// What the choice looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) endpoint: EndpointId,
    pub(crate) priority: i32,
    pub(crate) gateway_bridge: bool,
    pub(crate) internal: bool,
    pub(crate) network: String,
    pub(crate) v4: Option<IpAddr>,
    pub(crate) v6: Option<IpAddr>,
}

/// The endpoints chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) v4: Option<(EndpointId, IpAddr)>,
    pub(crate) v6: Option<(EndpointId, IpAddr)>,
}

/// The candidates, the best first.
pub(crate) fn ordered(candidates: &[Candidate]) -> Vec<&Candidate> {
    let mut ordered: Vec<_> = candidates.iter().collect();
    ordered.sort_by_key(|candidate| rank(candidate));
    ordered
}

/// Chooses.
pub(crate) fn choose(candidates: &[Candidate]) -> Choice {
    let ordered = ordered(candidates);
    Choice {
        v4: ordered
            .iter()
            .find_map(|candidate| Some((candidate.endpoint, candidate.v4?))),
        v6: ordered
            .iter()
            .find_map(|candidate| Some((candidate.endpoint, candidate.v6?))),
    }
}

fn rank(candidate: &Candidate) -> (Reverse<i32>, bool, bool, Reverse<usize>, &str, EndpointId) {
    let gateways = usize::from(candidate.v4.is_some()) + usize::from(candidate.v6.is_some());
    (
        Reverse(candidate.priority),
        candidate.gateway_bridge,
        candidate.internal,
        Reverse(gateways),
        &candidate.network,
        candidate.endpoint,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(network: &str) -> Candidate {
        Candidate {
            endpoint: EndpointId::random(),
            priority: 0,
            gateway_bridge: false,
            internal: false,
            network: network.to_owned(),
            v4: Some("10.0.0.1".parse().unwrap()),
            v6: None,
        }
    }

    fn v6() -> Option<IpAddr> {
        Some("fd00::1".parse().unwrap())
    }

    #[test]
    fn the_order_is_priority_then_no_gateway_bridge_then_outside_then_gateways_then_name() {
        type Row = (&'static str, Candidate, Candidate);
        let rows: [Row; 6] = [
            ("the name decides", candidate("a"), candidate("b")),
            (
                "more gateways",
                Candidate {
                    v6: v6(),
                    ..candidate("z")
                },
                candidate("a"),
            ),
            (
                "a way out",
                candidate("z"),
                Candidate {
                    internal: true,
                    v6: v6(),
                    ..candidate("a")
                },
            ),
            (
                "any other network before the gateway bridge",
                Candidate {
                    internal: true,
                    ..candidate("z")
                },
                Candidate {
                    gateway_bridge: true,
                    ..candidate("a")
                },
            ),
            (
                "priority before everything",
                Candidate {
                    priority: 1,
                    gateway_bridge: true,
                    ..candidate("z")
                },
                candidate("a"),
            ),
            (
                "a low priority comes last",
                candidate("z"),
                Candidate {
                    priority: -1,
                    ..candidate("a")
                },
            ),
        ];
        for (name, first, second) in rows {
            for pair in [[first.clone(), second.clone()], [second, first.clone()]] {
                let chosen = choose(&pair).v4.map(|(endpoint, _)| endpoint);
                assert_eq!(chosen, Some(first.endpoint), "{name}");
            }
        }
    }

    #[test]
    fn each_family_is_chosen_on_its_own() {
        let first = Candidate {
            priority: 1,
            ..candidate("a")
        };
        let second = Candidate {
            v6: v6(),
            ..candidate("b")
        };
        let choice = choose(&[second.clone(), first.clone()]);
        assert_eq!(choice.v4.map(|(endpoint, _)| endpoint), Some(first.endpoint));
        assert_eq!(choice.v6.map(|(endpoint, _)| endpoint), Some(second.endpoint));
        assert_eq!(choose(&[]), Choice::default());
    }

    #[test]
    fn one_without_a_gateway_is_never_chosen() {
        let none = Candidate {
            priority: 9,
            v4: None,
            ..candidate("a")
        };
        let some = candidate("b");
        assert_eq!(
            choose(&[none, some.clone()]).v4.map(|(endpoint, _)| endpoint),
            Some(some.endpoint)
        );
    }
}
