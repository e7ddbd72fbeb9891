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
    mount: PathBuf,
    path: PathBuf,
}

impl Hierarchy {
    /// Whether it is of version 1 and for more than to have a name.
    fn has_controllers(&self) -> bool {
        self.controllers.iter().any(|name| !name.starts_with("name="))
    }
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

    /// Moves the calling process in, which has one thread, everywhere.
    ///
    /// Whoever moves a process by its id, or a process of several threads, has the kernel hold every fork and exit of
    /// the host for a grace period (5 to 15 ms), lest the process forks meanwhile. A thread that moves itself does not;
    /// only version 1 lets it.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn enter(&self) -> io::Result<()> {
        self.directories().try_for_each(|directory| {
            let alone = directory.join("tasks");
            match alone.exists() {
                true => write(&alone, "0"),
                false => write(&directory.join("cgroup.procs"), "0"),
            }
        })
    }

    /// Where there is version 2 alone, makes what is above the cgroup. libcontainer makes all, but fails where somebody
    /// else does so in the same moment: after a boot, that is every container that starts with the daemon.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn make_above(&self) -> io::Result<()> {
        if self.hierarchies.iter().any(Hierarchy::has_controllers) {
            return Ok(());
        }
        let mut above = self.hierarchies.iter().filter_map(|one| one.path.parent());
        above.try_for_each(fs::create_dir_all)
    }

    /// Makes the cgroup in every hierarchy of version 1 controllers and moves the calling process in, as above. Answers
    /// where each is mounted, and the cgroup's directory there.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn found(&self) -> io::Result<Vec<(&Path, &Path)>> {
        let hierarchies = self.hierarchies.iter().filter(|one| one.has_controllers());
        hierarchies
            .map(|one| {
                fs::create_dir_all(&one.path)?;
                if one.controllers.iter().any(|name| name == "cpuset") {
                    inherit_cpus(&one.mount, &one.path)?;
                }
                write(&one.path.join("tasks"), "0")?;
                Ok((one.mount.as_path(), one.path.as_path()))
            })
            .collect()
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

    /// Every process in it and below it, each once, in order.
    pub fn processes(&self) -> Vec<i32> {
        let mut all = Vec::new();
        // One hierarchy is enough where it has everybody; libcontainer puts execs where the container is.
        for directory in self.directories() {
            processes_below(directory, &mut all);
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether the controller is of version 2.
    pub fn is_unified(&self, controller: &str) -> bool {
        let old = |one: &Hierarchy| one.controllers.iter().any(|name| name == controller);
        !self.hierarchies.iter().any(old)
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

/// The files of version 2 that weigh input and output of block devices, and what goes into each for a weight of version 1
/// (10 to 1000): that of the scheduler BFQ, and where it is not there that of the kernel's own count of costs (1 to
/// 10000).
pub fn block_weights(weight: u16) -> [(&'static str, String); 2] {
    let other = 1 + u32::from(weight.saturating_sub(10)) * 9999 / 990;
    [
        ("io.bfq.weight", weight.to_string()),
        ("io.weight", other.to_string()),
    ]
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
            mount: mount_point.into(),
            path: Path::new(mount_point).join(path),
        };
        if !found.iter().any(|one| one.controllers == hierarchy.controllers) {
            found.push(hierarchy);
        }
    }
    found
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    io::Write::write_all(
        &mut fs::OpenOptions::new().write(true).open(file)?,
        text.as_bytes(),
    )
}

/// No process may be where there is no processor or memory: what a new cgroup has none of, it has from the one above.
fn inherit_cpus(mount: &Path, path: &Path) -> io::Result<()> {
    let mut above = mount.to_owned();
    for part in path.strip_prefix(mount).unwrap_or(Path::new("")) {
        let below = above.join(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if fs::read_to_string(below.join(file))?.trim().is_empty() {
                write(&below.join(file), fs::read_to_string(above.join(file))?.trim())?;
            }
        }
        above = below;
    }
    Ok(())
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

fn processes_below(directory: &Path, all: &mut Vec<i32>) {
    children(directory).for_each(|child| processes_below(&child, all));
    let pids = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    all.extend(pids.lines().filter_map(|line| line.parse::<i32>().ok()));
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
        let with_controllers: Vec<_> = found.iter().map(Hierarchy::has_controllers).collect();
        assert_eq!(with_controllers, [true, false, false]);
    }

    #[test]
    fn a_new_cgroup_has_the_processors_of_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cnm/abc");
        fs::create_dir_all(&path).unwrap();
        let put = |at: &Path, cpus: &str| {
            fs::write(at.join("cpuset.cpus"), cpus).unwrap();
            fs::write(at.join("cpuset.mems"), "0\n").unwrap();
        };
        put(folder.path(), "0-3\n");
        put(&folder.path().join("cnm"), "\n");
        put(&path, "");
        inherit_cpus(folder.path(), &path).unwrap();
        assert_eq!(fs::read_to_string(path.join("cpuset.cpus")).unwrap(), "0-3");
        put(&path, "1\n");
        inherit_cpus(folder.path(), &path).unwrap();
        assert_eq!(fs::read_to_string(path.join("cpuset.cpus")).unwrap(), "1\n");
    }

    #[test]
    fn a_hierarchys_root_is_nobodys_cgroup() {
        for path in ["", "/", "/..", "/cnm/../.."] {
            assert!(Cgroup::locate(path).is_err(), "{path:?}");
        }
        assert!(Cgroup::locate("/cnm/x").is_ok());
    }

    #[test]
    fn what_is_above_a_cgroup_is_made_where_there_is_version_2_alone() {
        let folder = tempfile::tempdir().unwrap();
        let hierarchy = |controllers: &[&str]| Hierarchy {
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
            mount: folder.path().to_owned(),
            path: folder.path().join("cnm/abc"),
        };
        let cgroup = |hierarchies| Cgroup { hierarchies };
        let hybrid = cgroup(vec![hierarchy(&["memory"]), hierarchy(&[])]);
        hybrid.make_above().unwrap();
        assert!(!folder.path().join("cnm").exists());
        for _ in 0..2 {
            cgroup(vec![hierarchy(&[])]).make_above().unwrap();
            assert!(folder.path().join("cnm").exists());
            assert!(!folder.path().join("cnm/abc").exists());
        }
    }

    #[test]
    fn weights_of_block_devices_reach_from_end_to_end() {
        for (weight, other) in [(10, "1"), (100, "910"), (300, "2930"), (1000, "10000")] {
            let [bfq, cost] = block_weights(weight);
            assert_eq!(bfq, ("io.bfq.weight", weight.to_string()));
            assert_eq!(cost, ("io.weight", other.to_owned()));
        }
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
