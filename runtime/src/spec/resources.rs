//! Limits of all processes together, and of each.

use serde_json::{Map, Value, json};

use super::{HostFacts, Resources, SpecError, Ulimit, devices::Granted};

/// Below this the kernel has no room to start anything; Docker's limit.
const LEAST_MEMORY: i64 = 6 << 20;
/// Microseconds; what a number of processors is measured against.
const PERIOD: i64 = 100_000;

/// The spec's `resources`.
pub(super) fn resources(
    wanted: &Resources,
    privileged: bool,
    granted: &[Granted],
    host: &HostFacts,
) -> Result<Value, SpecError> {
    let mut all = Map::new();
    all.insert("devices".into(), device_rules(privileged, granted));
    let mut put = |name: &str, part: Map<String, Value>| {
        if !part.is_empty() {
            all.insert(name.into(), part.into());
        }
    };
    put("memory", memory(wanted, host)?);
    put("cpu", cpu(wanted, host)?);
    put(
        "pids",
        wanted
            .pids_limit
            .filter(|limit| *limit > 0)
            .map(|limit| only("limit", limit))
            .unwrap_or_default(),
    );
    put(
        "blockIO",
        wanted
            .blkio_weight
            .map(|weight| only("weight", weight))
            .unwrap_or_default(),
    );
    Ok(all.into())
}

fn device_rules(privileged: bool, granted: &[Granted]) -> Value {
    if privileged {
        return json!([{"allow": true, "access": "rwm"}]);
    }
    let none = json!({"allow": false, "access": "rwm"});
    std::iter::once(none)
        .chain(granted.iter().map(|one| one.rule.clone()))
        .collect()
}

fn only(name: &str, value: impl Into<Value>) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value.into())])
}

fn memory(wanted: &Resources, host: &HostFacts) -> Result<Map<String, Value>, SpecError> {
    let invalid = |text: &str| Err(SpecError::Invalid(text.to_owned()));
    let mut memory = Map::new();
    let limit = wanted.memory.filter(|limit| *limit != 0);
    let swap = wanted.memory_swap.filter(|swap| *swap != 0);
    match (limit, swap) {
        (Some(limit), _) if limit > 0 && limit < LEAST_MEMORY => {
            return invalid("minimum memory limit allowed is 6MB");
        }
        (Some(limit), Some(swap)) if swap > 0 && swap < limit => {
            return invalid("minimum memoryswap limit should be larger than memory limit, see usage");
        }
        (None, Some(swap)) if swap > 0 => {
            return invalid("you should always set the memory limit when using memoryswap limit, see usage");
        }
        _ => {}
    }
    if let Some(limit) = limit {
        memory.insert("limit".into(), limit.into());
        if host.swap_accounting {
            memory.insert(
                "swap".into(),
                swap.unwrap_or_else(|| limit.saturating_mul(2)).into(),
            );
        }
    }
    if let Some(reservation) = wanted.memory_reservation.filter(|bytes| *bytes > 0) {
        if limit.is_some_and(|limit| limit > 0 && limit < reservation) {
            return invalid("minimum memory limit can not be less than memory reservation limit, see usage");
        }
        memory.insert("reservation".into(), reservation.into());
    }
    match wanted.memory_swappiness {
        Some(much @ 0..=100) if !host.unified_cgroups => {
            memory.insert("swappiness".into(), much.into());
        }
        Some(0..=100) | None => {}
        Some(_) => return invalid("invalid value for memory swappiness, valid range is 0-100"),
    }
    Ok(memory)
}

fn cpu(wanted: &Resources, host: &HostFacts) -> Result<Map<String, Value>, SpecError> {
    let mut cpu = Map::new();
    if let Some(shares) = wanted.cpu_shares.filter(|shares| *shares > 0) {
        cpu.insert("shares".into(), shares.max(2).into());
    }
    match wanted.nano_cpus.filter(|nano| *nano != 0) {
        Some(nano) => {
            let most = i64::try_from(host.cpus)
                .unwrap_or(i64::MAX)
                .saturating_mul(1_000_000_000);
            if nano < 10_000_000 || nano > most {
                let most = host.cpus;
                return Err(SpecError::Invalid(format!(
                    "range of CPUs is from 0.01 to {most}.00, as there are only {most} CPUs available"
                )));
            }
            cpu.insert("quota".into(), (nano / (1_000_000_000 / PERIOD)).into());
            cpu.insert("period".into(), PERIOD.into());
        }
        None => {
            if let Some(quota) = wanted.cpu_quota.filter(|quota| *quota != 0) {
                cpu.insert("quota".into(), quota.into());
            }
            if let Some(period) = wanted.cpu_period.filter(|period| *period != 0) {
                cpu.insert("period".into(), period.into());
            }
        }
    }
    for (name, list) in [("cpus", &wanted.cpuset_cpus), ("mems", &wanted.cpuset_mems)] {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            cpu.insert(name.into(), list.clone().into());
        }
    }
    Ok(cpu)
}

const LIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The spec's `rlimits`. A limit above our own hard one is lowered to it where we may not raise it.
pub(super) fn rlimits(wanted: &[Ulimit], host: &HostFacts) -> Result<Value, SpecError> {
    wanted.iter().map(|one| rlimit(one, host)).collect()
}

fn rlimit(wanted: &Ulimit, host: &HostFacts) -> Result<Value, SpecError> {
    if !LIMITS.contains(&wanted.name.as_str()) {
        return Err(SpecError::Ulimit(wanted.name.clone()));
    }
    let bytes = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    let (soft, hard) = (bytes(wanted.soft), bytes(wanted.hard));
    if soft > hard {
        return Err(SpecError::UlimitOrder {
            soft: wanted.soft,
            hard: wanted.hard,
        });
    }
    let name = format!("RLIMIT_{}", wanted.name.to_ascii_uppercase());
    let most = if host.may_raise_limits {
        None
    } else {
        host.hard_limits.get(&name).copied()
    };
    let most = most.unwrap_or(u64::MAX);
    Ok(json!({"type": name, "soft": soft.min(most), "hard": hard.min(most)}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_become_what_the_kernel_is_told() {
        let host = HostFacts::powerful();
        let table = [
            ("nothing", Resources::default(), json!({})),
            (
                "memory_means_as_much_swap",
                Resources {
                    memory: Some(64 << 20),
                    ..Default::default()
                },
                json!({"memory": {"limit": 64 << 20, "swap": 128 << 20}}),
            ),
            (
                "processors_become_a_quota",
                Resources {
                    nano_cpus: Some(1_500_000_000),
                    ..Default::default()
                },
                json!({"cpu": {"quota": 150_000, "period": 100_000}}),
            ),
            (
                "no_limit_of_processes",
                Resources {
                    pids_limit: Some(-1),
                    ..Default::default()
                },
                json!({}),
            ),
            (
                "so_many_processes",
                Resources {
                    pids_limit: Some(9),
                    ..Default::default()
                },
                json!({"pids": {"limit": 9}}),
            ),
        ];
        for (name, wanted, expected) in table {
            let mut got = resources(&wanted, false, &[], &host).unwrap();
            got.as_object_mut().unwrap().remove("devices");
            assert_eq!(got, expected, "{name}");
        }
    }

    #[test]
    fn what_can_not_be_is_said() {
        let host = HostFacts::powerful();
        for wanted in [
            Resources {
                memory: Some(1),
                ..Default::default()
            },
            Resources {
                memory_swap: Some(64 << 20),
                ..Default::default()
            },
            Resources {
                nano_cpus: Some(99_000_000_000),
                ..Default::default()
            },
            Resources {
                memory_swappiness: Some(101),
                ..Default::default()
            },
        ] {
            assert!(resources(&wanted, false, &[], &host).is_err(), "{wanted:?}");
        }
    }

    #[test]
    fn a_limit_above_our_own_is_lowered_when_we_may_not_raise_it() {
        let mut host = HostFacts::powerful();
        host.hard_limits.insert("RLIMIT_NOFILE".into(), 100);
        let wanted = [Ulimit {
            name: "nofile".into(),
            soft: 50,
            hard: 200,
        }];
        let hard = |host: &HostFacts| rlimits(&wanted, host).unwrap()[0]["hard"].as_u64();
        assert_eq!(hard(&host), Some(200));
        host.may_raise_limits = false;
        assert_eq!(hard(&host), Some(100));
        assert!(
            rlimits(
                &[Ulimit {
                    name: "joy".into(),
                    soft: 1,
                    hard: 1
                }],
                &host
            )
            .is_err()
        );
        assert!(
            rlimits(
                &[Ulimit {
                    name: "core".into(),
                    soft: 2,
                    hard: 1
                }],
                &host
            )
            .is_err()
        );
    }
}
