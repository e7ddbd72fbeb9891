//! Taking a lab down: its processes by pid, its mounts, its namespaces, its cgroups.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::lab::{PREFIX, ip};

/// Takes down labs whose process is gone. One whose process lives, even under another program's name, is left alone.
pub(crate) fn dead_labs() {
    let Ok(entries) = fs::read_dir("/run/netns") else {
        return;
    };
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let prefixes: BTreeSet<String> = names.filter_map(|name| dead_prefix(&name)).collect();
    for prefix in prefixes {
        lab(&prefix, Path::new("/nowhere"));
    }
}

/// `cnmlab-PID-N` of a namespace's name, if no process has that id. A lab that was kept on purpose has a file for it.
fn dead_prefix(name: &str) -> Option<String> {
    let mut parts = name.splitn(4, '-');
    let (prefix, pid, number) = (parts.next()?, parts.next()?, parts.next()?);
    let gone = prefix == PREFIX && pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists();
    let prefix = format!("{prefix}-{pid}-{number}");
    (gone && !kept_marker(&prefix).exists()).then_some(prefix)
}

const MARKERS: &str = "/run";

fn kept_marker(prefix: &str) -> PathBuf {
    Path::new(MARKERS).join(format!("{prefix}.kept"))
}

/// Notes that a lab outlives its process on purpose, and where its files are.
pub(crate) fn mark_kept(prefix: &str, folder: &Path) -> std::io::Result<()> {
    fs::write(kept_marker(prefix), folder.to_string_lossy().as_bytes())
}

/// Takes down labs that were kept on purpose.
pub(crate) fn kept_labs() -> usize {
    let entries = fs::read_dir(MARKERS).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let kept = names.filter_map(|name| name.strip_suffix(".kept").map(str::to_owned));
    let mut count = 0;
    for prefix in kept.filter(|prefix| prefix.starts_with(PREFIX)) {
        let marker = kept_marker(&prefix);
        let folder = PathBuf::from(fs::read_to_string(&marker).unwrap_or_default());
        if folder.is_absolute() {
            lab(&prefix, &folder);
            let _ = fs::remove_dir_all(folder);
        }
        let _ = fs::remove_file(marker);
        count += 1;
    }
    count
}

/// Takes down everything of one lab. Each step goes on when another fails: this is the last chance.
pub(crate) fn lab(prefix: &str, folder: &Path) {
    let namespaces = namespaces(prefix);
    end_processes(prefix, folder, &namespaces);
    unmount_under(folder);
    for name in &namespaces {
        let _ = ip(&["netns", "delete", name]);
    }
    remove_cgroups(prefix);
}

fn namespaces(prefix: &str) -> Vec<String> {
    let own = format!("{prefix}-");
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(&own))
        .collect()
}

/// Kills, by pid, what lives in the lab's namespaces, in its cgroups, or was called with its folder.
fn end_processes(prefix: &str, folder: &Path, namespaces: &[String]) {
    let inodes: BTreeSet<u64> = namespaces
        .iter()
        .filter_map(|name| fs::metadata(Path::new("/run/netns").join(name)).ok())
        .map(|metadata| metadata.ino())
        .collect();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left: Vec<i32> = processes()
            .filter(|pid| belongs(*pid, prefix, folder, &inodes))
            .collect();
        if left.is_empty() || Instant::now() >= deadline {
            return;
        }
        for pid in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn processes() -> impl Iterator<Item = i32> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(move |pid| *pid != own)
}

/// A zombie has ended; it is its parent's, or the system's first process's, to collect.
pub(crate) fn ended(pid: i32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let letter = state.rsplit(')').next().map(str::trim_start);
    letter.is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
}

fn belongs(pid: i32, prefix: &str, folder: &Path, inodes: &BTreeSet<u64>) -> bool {
    let of = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
    if ended(pid) {
        return false;
    }
    let in_namespace = fs::metadata(of("ns/net")).is_ok_and(|metadata| inodes.contains(&metadata.ino()));
    let cgroups = fs::read_to_string(of("cgroup")).unwrap_or_default();
    let called = fs::read(of("cmdline")).unwrap_or_default();
    let called = String::from_utf8_lossy(&called).into_owned();
    let folder = folder.to_string_lossy();
    in_namespace || cgroups.contains(&format!("/{prefix}-")) || called.contains(&*folder)
}

/// Unmounts what is mounted under a folder, the newest first.
fn unmount_under(folder: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| Path::new(point).starts_with(folder));
    for point in points.collect::<Vec<_>>().into_iter().rev() {
        let _ = umount2(point, MntFlags::MNT_DETACH);
    }
}

fn remove_cgroups(prefix: &str) {
    let controllers = fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    for root in std::iter::once(PathBuf::from("/sys/fs/cgroup")).chain(controllers) {
        let own = fs::read_dir(&root)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let named = |path: &PathBuf| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(&format!("{prefix}-")))
        };
        for cgroup in own.filter(named) {
            remove_tree(&cgroup);
        }
    }
}

/// A cgroup goes when its children are gone; its files can't be removed and needn't be.
fn remove_tree(cgroup: &Path) {
    for child in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&child.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}
