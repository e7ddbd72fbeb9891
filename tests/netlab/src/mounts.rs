//! A host with more programs than the machine has: packages, unpacked, lie over the machine's `/usr` and `/etc`, and
//! `/run` is the host's own. So a dockerd, ufw or firewalld runs in it as if it were installed, and leaves nothing.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::{
    process::{Place, Process},
    wait::wait_for,
};

/// Made inside a mount namespace of its own, and gone with the last process in it. What is written goes to `$1`; the
/// other arguments are packages, those in front over those behind.
const SCRIPT: &str = r#"
set -e
own=$1; shift
mkdir -p "$own/run"
mount -n -t tmpfs tmpfs "$own/run"
mkdir "$own/run/netns" "$own/run/lock"
mount -n --rbind /run/netns "$own/run/netns"
for folder in usr etc; do
    lower=
    for package; do [ ! -d "$package/$folder" ] || lower=$lower$package/$folder:; done
    mkdir -p "$own/$folder" "$own/work-$folder"
    mount -n -t overlay overlay -o "lowerdir=$lower/$folder,upperdir=$own/$folder,workdir=$own/work-$folder" "/$folder"
done
mount -n --move "$own/run" /run
echo ready
exec sleep infinity
"#;

/// A mount namespace, kept by a process that sleeps in it.
#[derive(Debug)]
pub(crate) struct Mounts {
    keeper: Process,
}

impl Mounts {
    /// Makes it for a host.
    pub(crate) fn new(netns: &Path, folder: &Path, packages: &[&str]) -> anyhow::Result<Self> {
        let own = folder.join("mounts");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]);
        command.arg(&own);
        for name in packages {
            command.arg(unpacked(name)?);
        }
        let place = Place {
            netns: netns.to_owned(),
            mounts: None,
        };
        let mut keeper = Process::start(&place, "mounts", command, folder.join("mounts.log"))?;
        wait_for("the host's mounts", Duration::from_secs(10), || {
            if keeper.running() {
                ensure!(keeper.log().contains("ready"), "not yet made: {}", keeper.log());
                return Ok(true);
            }
            Ok(false)
        })?
        .then_some(())
        .with_context(|| format!("making the host's mounts: {}", keeper.log()))?;
        Ok(Self { keeper })
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/mnt", self.keeper.id()))
    }
}

/// Where `tests/packages.sh` unpacked a package.
fn unpacked(name: &str) -> anyhow::Result<PathBuf> {
    let cache = env::var_os("CNM_TEST_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/cnm-tests"), PathBuf::from)
        .join(name);
    ensure!(
        cache.is_dir(),
        "{name} is missing: \"tests/packages.sh {name}\" brings it"
    );
    Ok(cache)
}
