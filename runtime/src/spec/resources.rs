//! Limits of all processes together, and of each.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use serde_json::{Map, Value, json};

use super::{ContainerConfig, HostFacts, Resources, SpecError, Ulimit, devices};

/// Below this the kernel has no room to start anything; Docker's limit.
const LEAST_MEMORY: i64 = 6 << 20;
/// Microseconds; what a number of processors is measured against.
const PERIOD: i64 = 100_000;

/// The spec's `resources`.
pub(super) fn resources(
    config: &ContainerConfig,
    granted: &[devices::Granted],
    host: &HostFacts,
) -> Result<Value, SpecError> {
    let wanted = &config.resources;
    let mut all = Map::new();
    all.insert("devices".into(), devices::rules(config, granted)?);
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
    put("blockIO", blocks(wanted, host)?);
    Ok(all.into())
}

/// Input and output of block devices.
fn blocks(wanted: &Resources, host: &HostFacts) -> Result<Map<String, Value>, SpecError> {
    let mut blocks = Map::new();
    if let Some(weight) = wanted.blkio_weight.filter(|_| host.block_weights) {
        blocks.insert("weight".into(), weight.into());
    }
    let lists = [
        (
            "weightDevice",
            "weight",
            &wanted.blkio_weight_devices,
            host.block_weights,
        ),
        (
            "throttleReadBpsDevice",
            "rate",
            &wanted.blkio_read_bytes,
            host.block_limits,
        ),
        (
            "throttleWriteBpsDevice",
            "rate",
            &wanted.blkio_write_bytes,
            host.block_limits,
        ),
        (
            "throttleReadIOPSDevice",
            "rate",
            &wanted.blkio_reads,
            host.block_limits,
        ),
        (
            "throttleWriteIOPSDevice",
            "rate",
            &wanted.blkio_writes,
            host.block_limits,
        ),
    ];
    for (name, unit, list, can) in lists {
        if can && !list.is_empty() {
            let each = list.iter().map(|one| numbered(one, unit));
            blocks.insert(name.into(), each.collect::<Result<Value, _>>()?);
        }
    }
    Ok(blocks)
}

/// A device by its numbers, with what is given to it.
fn numbered((path, amount): &(PathBuf, u64), unit: &str) -> Result<Value, SpecError> {
    let facts = fs::metadata(path).map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            _ => error.to_string(),
        };
        SpecError::Invalid(format!("stat {}: {reason}", path.display()))
    })?;
    let (major, minor) = (rustix::fs::major(facts.rdev()), rustix::fs::minor(facts.rdev()));
    Ok(json!({"major": major, "minor": minor, unit: amount}))
}

/// What this host can't do, in Docker's words.
pub(super) fn discarded(wanted: &Resources, host: &HostFacts) -> Vec<String> {
    let lacks = |what: &str, left: &str| {
        format!("Your kernel does not support {what} or the cgroup is not mounted. {left} discarded.")
    };
    let (weights, limits) = (!host.block_weights, !host.block_limits);
    let blocks = [
        (
            weights && wanted.blkio_weight.is_some(),
            "Block I/O weight",
            "Weight",
        ),
        (
            weights && !wanted.blkio_weight_devices.is_empty(),
            "Block I/O weight_device",
            "Weight-device",
        ),
        (
            limits && !wanted.blkio_read_bytes.is_empty(),
            "BPS Block I/O read limit",
            "Block I/O BPS read limit",
        ),
        (
            limits && !wanted.blkio_write_bytes.is_empty(),
            "BPS Block I/O write limit",
            "Block I/O BPS write limit",
        ),
        (
            limits && !wanted.blkio_reads.is_empty(),
            "IOPS Block read limit",
            "Block I/O IOPS read limit",
        ),
        (
            limits && !wanted.blkio_writes.is_empty(),
            "IOPS Block write limit",
            "Block I/O IOPS write limit",
        ),
    ];
    let said = blocks.into_iter().filter(|(said, ..)| *said);
    let mut all: Vec<String> = said.map(|(_, what, left)| lacks(what, left)).collect();
    if wanted.oom_kill_disable && !host.oom_kill_switch {
        all.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned());
    } else if wanted.oom_kill_disable && wanted.memory.is_none_or(|limit| limit <= 0) {
        all.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the \
             system running out of resources."
                .to_owned(),
        );
    }
    all
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
        if reservation < LEAST_MEMORY {
            return invalid("Minimum memory reservation allowed is 6MB");
        }
        memory.insert("reservation".into(), reservation.into());
    }
    if wanted.oom_kill_disable && host.oom_kill_switch {
        memory.insert("disableOOMKiller".into(), true.into());
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
                if (1..1000).contains(&quota) {
                    return Err(SpecError::Invalid(
                        "CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned(),
                    ));
                }
                cpu.insert("quota".into(), quota.into());
            }
            if let Some(period) = wanted.cpu_period.filter(|period| *period != 0) {
                if !(1000..=1_000_000).contains(&period) {
                    return Err(SpecError::Invalid(
                        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
                            .to_owned(),
                    ));
                }
                cpu.insert("period".into(), period.into());
            }
        }
    }
    for (name, what, list, there) in [
        ("cpus", "CPUs", &wanted.cpuset_cpus, &host.cpu_list),
        ("mems", "memory nodes", &wanted.cpuset_mems, &host.memory_list),
    ] {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            available(name, what, list, there)?;
            cpu.insert(name.into(), list.clone().into());
        }
    }
    Ok(cpu)
}

/// Refuses a list like `0-2,5` that names what is not there.
fn available(name: &str, what: &str, wanted: &str, there: &str) -> Result<(), SpecError> {
    let Some(numbers) = numbers(wanted) else {
        return Err(SpecError::Invalid(format!(
            "Invalid value {wanted} for cpuset {name}"
        )));
    };
    let Some(there_are) = numbers_there(there) else {
        return Ok(());
    };
    if numbers
        .iter()
        .all(|range| there_are.iter().any(|known| covers(known, range)))
    {
        return Ok(());
    }
    Err(SpecError::Invalid(format!(
        "Requested {what} are not available - requested {wanted}, available: {there}"
    )))
}

fn covers(known: &(u32, u32), range: &(u32, u32)) -> bool {
    known.0 <= range.0 && range.1 <= known.1
}

/// None where the kernel doesn't say.
fn numbers_there(list: &str) -> Option<Vec<(u32, u32)>> {
    numbers(list).filter(|list| !list.is_empty())
}

fn numbers(list: &str) -> Option<Vec<(u32, u32)>> {
    let parts = list.split(',').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first <= last).then_some((first, last))
        })
        .collect()
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

    fn given(wanted: &Resources, host: &HostFacts) -> Result<Value, SpecError> {
        let config = ContainerConfig {
            resources: wanted.clone(),
            ..Default::default()
        };
        resources(&config, &[], host)
    }

    #[test]
    fn processors_and_nodes_that_are_not_there_are_refused() {
        let table = [
            ("0", ""),
            ("0-1", ""),
            ("1,0", ""),
            (
                "2",
                "Requested CPUs are not available - requested 2, available: 0-1",
            ),
            (
                "0-7",
                "Requested CPUs are not available - requested 0-7, available: 0-1",
            ),
            ("a", "Invalid value a for cpuset cpus"),
            ("1-0", "Invalid value 1-0 for cpuset cpus"),
        ];
        for (list, says) in table {
            let wanted = Resources {
                cpuset_cpus: Some(list.into()),
                ..Default::default()
            };
            let said = given(&wanted, &HostFacts::powerful()).err();
            assert_eq!(
                said.map(|error| error.to_string()).unwrap_or_default(),
                says,
                "{list}"
            );
        }
    }

    #[test]
    fn devices_are_limited_by_their_numbers_where_the_host_can() {
        let wanted = Resources {
            blkio_read_bytes: vec![("/dev/null".into(), 1024)],
            ..Default::default()
        };
        let mut host = HostFacts::powerful();
        assert_eq!(
            given(&wanted, &host).unwrap()["blockIO"],
            json!({"throttleReadBpsDevice": [{"major": 1, "minor": 3, "rate": 1024}]})
        );
        assert!(discarded(&wanted, &host).is_empty());
        host.block_limits = false;
        assert_eq!(given(&wanted, &host).unwrap().get("blockIO"), None);
        assert_eq!(discarded(&wanted, &host).len(), 1);
        let nowhere = Resources {
            blkio_writes: vec![("/no/such".into(), 1)],
            ..Default::default()
        };
        let refused = given(&nowhere, &HostFacts::powerful()).unwrap_err();
        assert_eq!(refused.to_string(), "stat /no/such: no such file or directory");
    }

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
            let mut got = given(&wanted, &host).unwrap();
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
            assert!(given(&wanted, &host).is_err(), "{wanted:?}");
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
