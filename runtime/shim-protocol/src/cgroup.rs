//! A container's cgroup in every hierarchy there is: version 1, version 2, or both side by side.
//!
//! libcontainer makes the cgroups; freezing, counting and removing them is a few small files, done here so that
//! neither the shim nor the daemon needs to enter that library for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, kill_process};

/// The cgroup of one container, in all hierarchies where it exists.
#[derive(Debug, Clone)]
pub struct Cgroup {
    hierarchies: Vec<Hierarchy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    /// Names of version 1 controllers; empty for version 2.
    controllers: Vec<String>,
    path: PathBuf,
}

impl Cgroup {
    /// Finds the cgroup `path` (absolute, below each hierarchy's root) through this process's mounts.
    ///
    /// # Errors
    /// When the mounts can't be read; for a path that names a hierarchy's root or leads out of it: what is found is
    /// killed and removed as a whole.
    pub fn locate(path: &str) -> io::Result<Self> {
        let inner = Path::new(path.trim_start_matches('/'));
        let plain = inner
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        if !plain || inner.components().next().is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{path:?} is not a container's cgroup"),
            ));
        }
        Ok(Self {
            hierarchies: hierarchies(&fs::read_to_string("/proc/self/mountinfo")?, path),
        })
    }

    /// Its directories, of those hierarchies where it exists.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.hierarchies
            .iter()
            .map(|hierarchy| hierarchy.path.as_path())
            .filter(|path| path.exists())
    }

    /// The directory in the hierarchy of a version 1 controller, or the version 2 directory.
    pub fn directory(&self, controller: &str) -> Option<&Path> {
        let mine = self.hierarchies.iter().find(|hierarchy| {
            hierarchy.controllers.iter().any(|name| name == controller) && hierarchy.path.exists()
        });
        let unified = || {
            self.hierarchies
                .iter()
                .find(|one| one.controllers.is_empty() && one.path.exists())
        };
        mine.or_else(unified).map(|hierarchy| hierarchy.path.as_path())
    }

    /// Moves a process in, everywhere.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn enter(&self, pid: u32) -> io::Result<()> {
        self.directories()
            .try_for_each(|directory| fs::write(directory.join("cgroup.procs"), pid.to_string()))
    }

    /// Freezes all its processes, or lets them run.
    ///
    /// # Errors
    /// `NotFound` without a freezer, else those of the kernel.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        let directory = self.directory("freezer").ok_or(io::ErrorKind::NotFound)?;
        let old = directory.join("freezer.state");
        if old.exists() {
            return fs::write(old, if frozen { "FROZEN" } else { "THAWED" });
        }
        fs::write(directory.join("cgroup.freeze"), if frozen { "1" } else { "0" })
    }

    /// How many of its processes the kernel has killed for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let Some(directory) = self.directory("memory") else {
            return 0;
        };
        ["memory.oom_control", "memory.events"]
            .iter()
            .filter_map(|file| fs::read_to_string(directory.join(file)).ok())
            .find_map(|text| counter(&text, "oom_kill"))
            .unwrap_or(0)
    }

    /// Sends SIGKILL to every process in it and below it.
    pub fn kill(&self) {
        for directory in self.directories() {
            kill_below(directory);
        }
    }

    /// Removes it and what is below it; true when nothing is left.
    ///
    /// A process that is still on its way out keeps it busy: call again.
    pub fn remove(&self) -> bool {
        // Each is tried, whatever became of the one before.
        let left = self
            .hierarchies
            .iter()
            .filter(|hierarchy| !remove_below(&hierarchy.path))
            .count();
        left == 0
    }
}

fn hierarchies(mountinfo: &str, path: &str) -> Vec<Hierarchy> {
    let path = path.trim_start_matches('/');
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let mut right = right.split(' ');
        let kind = right.next().unwrap_or_default();
        let options = right.nth(1).unwrap_or_default();
        let Some(mount_point) = left.split(' ').nth(4) else {
            continue;
        };
        let controllers = match kind {
            "cgroup2" => Vec::new(),
            "cgroup" => options
                .split(',')
                .filter(|name| *name != "rw" && *name != "ro")
                .map(str::to_owned)
                .collect(),
            _ => continue,
        };
        let hierarchy = Hierarchy {
            controllers,
            path: Path::new(mount_point).join(path),
        };
        if !found.iter().any(|one| one.controllers == hierarchy.controllers) {
            found.push(hierarchy);
        }
    }
    found
}

fn counter(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)?
        .1
        .trim()
        .parse()
        .ok()
}

fn children(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

fn kill_below(directory: &Path) {
    children(directory).for_each(|child| kill_below(&child));
    let pids = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    for pid in pids
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter_map(Pid::from_raw)
    {
        // A process that ended meanwhile is what is wanted.
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn remove_below(directory: &Path) -> bool {
    match fs::remove_dir(directory) {
        Ok(()) => return true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
        Err(_) => {}
    }
    children(directory).for_each(|child| {
        remove_below(&child);
    });
    fs::remove_dir(directory).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 29 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime shared:3 - cgroup cgroup rw,cpu
32 30 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup systemd rw,name=systemd
33 30 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 none rw
34 30 0:27 / /elsewhere/cpu rw,relatime - cgroup cgroup rw,cpu";

    #[test]
    fn each_hierarchy_is_found_once() {
        let found = hierarchies(HYBRID, "/cnm/abc");
        let paths: Vec<_> = found.iter().map(|one| one.path.to_str().unwrap()).collect();
        assert_eq!(
            paths,
            [
                "/sys/fs/cgroup/cpu/cnm/abc",
                "/sys/fs/cgroup/systemd/cnm/abc",
                "/sys/fs/cgroup/unified/cnm/abc"
            ]
        );
        assert_eq!(found[1].controllers, ["name=systemd"]);
    }

    #[test]
    fn a_hierarchys_root_is_nobodys_cgroup() {
        for path in ["", "/", "/..", "/cnm/../.."] {
            assert!(Cgroup::locate(path).is_err(), "{path:?}");
        }
        assert!(Cgroup::locate("/cnm/x").is_ok());
    }

    #[test]
    fn counters_are_read_by_their_whole_name() {
        assert_eq!(counter("oom 5\noom_kill 2\n", "oom_kill"), Some(2));
        assert_eq!(
            counter("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", "oom_kill"),
            Some(7)
        );
        assert_eq!(counter("low 0\n", "oom_kill"), None);
    }
}
