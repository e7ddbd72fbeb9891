//! What is on this machine besides: taken before and after, the difference is what was left behind.

use std::{collections::BTreeSet, fs, process::Command};

use crate::sweep::ended;

/// Namespaces, links, mounts, firewall rules and our processes at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftovers {
    items: BTreeSet<String>,
}

impl Leftovers {
    /// Takes stock of the root namespace.
    pub fn now() -> Self {
        let mut items = BTreeSet::new();
        add(&mut items, "namespace", names("/run/netns"));
        add(&mut items, "link", names("/sys/class/net"));
        add(&mut items, "mount", mounts());
        add(&mut items, "rule", lines("nft", &["list", "ruleset"]));
        add(&mut items, "process", processes());
        add(&mut items, "cgroup", cgroups());
        Self { items }
    }

    /// What is here now and wasn't then.
    pub fn since(&self, before: &Self) -> Vec<String> {
        self.items.difference(&before.items).cloned().collect()
    }
}

fn add(items: &mut BTreeSet<String>, kind: &str, found: Vec<String>) {
    items.extend(found.into_iter().map(|name| format!("{kind} {name}")));
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4).map(str::to_owned))
        .collect()
}

fn lines(program: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(program).args(arguments).output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Processes of ours and of the lab's servers, by their program's name and id.
fn processes() -> Vec<String> {
    const OURS: [&str; 5] = ["cnmd", "cnm-shim", "cnm-names", "etcd", "consul"];
    let pids = names("/proc")
        .into_iter()
        .filter(|name| name.parse().is_ok_and(|pid| !ended(pid)));
    let named = pids.filter_map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        OURS.contains(&name.trim())
            .then(|| format!("{} {pid}", name.trim()))
    });
    named.collect()
}

fn cgroups() -> Vec<String> {
    let mounted = names("/sys/fs/cgroup").into_iter().flat_map(|controller| {
        let folder = format!("/sys/fs/cgroup/{controller}");
        names(&folder)
            .into_iter()
            .map(move |name| format!("{controller}/{name}"))
            .collect::<Vec<_>>()
    });
    mounted.filter(|name| name.contains("cnm")).collect()
}
