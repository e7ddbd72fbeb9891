//! What of the host's mounts a container sees, and the host of a container's.

use netlab::Daemon;

use super::{Test, contains, run, with_daemon};

/// A folder with memory mounted below it, in the daemon's mounts; shared with others or not.
struct Tree<'a> {
    docker: &'a Daemon,
    path: String,
}

impl<'a> Tree<'a> {
    fn new(docker: &'a Daemon, name: &str, propagation: &str) -> anyhow::Result<Self> {
        let path = docker.host().folder().join(name).display().to_string();
        let tree = Self { docker, path };
        tree.shell(&format!(
            "mkdir -p $t; mount -n -t tmpfs tmpfs $t; mount -n --make-{propagation} $t; mkdir $t/below; mount -n -t tmpfs tmpfs $t/below"
        ))?;
        Ok(tree)
    }

    /// A shell line on the host, where `$t` is the tree.
    fn shell(&self, line: &str) -> anyhow::Result<String> {
        let line = format!("set -e; t={}; {line}", self.path);
        self.docker.host().run("sh", &["-c", &line])?.ok()
    }

    fn mount(&self, options: &str) -> String {
        format!("--mount type=bind,src={},dst=/t{options}", self.path)
    }
}

/// A container `one` that may mount, with something of the host's.
fn idles_with(docker: &Daemon, bind: &str) -> Test {
    let line = format!("run -d --name one --privileged -v {bind} busybox sleep 600");
    docker.ok(&line).map(drop)
}

#[test]
fn what_is_mounted_is_seen_where_propagation_says() -> Test {
    with_daemon(&[], |host| {
        let docker = &host.daemon;
        let tree = Tree::new(docker, "shared", "shared")?;
        // Who hears of whom: the container of the host's mounts, the host of the container's.
        let rows = [
            ("", false, false),
            (":rprivate", false, false),
            (":private", false, false),
            (":rslave", true, false),
            (":slave", true, false),
            (":rshared", true, true),
            (":shared", true, true),
            (":ro,rshared", true, false),
        ];
        for (mode, inside, outside) in rows {
            let bind = format!("{}:/t{mode}", tree.path);
            idles_with(docker, &bind)?;
            tree.shell("mkdir $t/of-host; mount -n -t tmpfs of-host $t/of-host")?;
            let seen = docker.docker(&["exec", "one", "grep", "-c", "of-host /t/of-host", "/proc/mounts"])?;
            assert_eq!(seen.code == 0, inside, "{mode:?}: {seen:?}");
            tree.shell("umount -n $t/of-host; rmdir $t/of-host")?;
            let line = "mkdir -p /t/of-inside && mount -t tmpfs of-inside /t/of-inside";
            let made = docker.docker(&["exec", "one", "sh", "-c", line])?;
            assert_eq!(made.code == 0, !mode.contains("ro,"), "{mode:?}: {made:?}");
            let seen = tree.shell("grep -c 'of-inside '$t /proc/self/mounts || true")?;
            assert_eq!(seen != "0", outside, "{mode:?}");
            docker.ok("rm -f one")?;
            tree.shell("umount -n $t/of-inside 2>/dev/null || true; rmdir $t/of-inside 2>/dev/null || true")?;
        }
        // Nothing else of a container that shares mounts gets out.
        let bind = format!("{}:/t:rshared", tree.path);
        let before = tree.shell("grep -c $t /proc/self/mounts")?;
        idles_with(docker, &bind)?;
        docker
            .docker(&[
                "exec",
                "one",
                "sh",
                "-c",
                "mkdir /m; mount -t tmpfs inner /m; mount -t tmpfs inner /etc",
            ])?
            .ok()?;
        assert_eq!(tree.shell("grep -c ^inner /proc/self/mounts || true")?, "0");
        docker.ok("rm -f one")?;
        assert_eq!(tree.shell("grep -c $t /proc/self/mounts")?, before);
        tree.shell("umount -n -l $t")?;
        let alone = Tree::new(docker, "private", "private")?;
        for (mode, says) in [
            ("rshared", "but it is not a shared mount"),
            ("shared", "but it is not a shared mount"),
            ("rslave", "but it is not a shared or slave mount"),
        ] {
            let bind = format!("-v {}:/t:{mode}", alone.path);
            contains(&run(docker, &bind, "true")?.failed()?, says);
        }
        alone.shell("umount -n -l $t")?;
        Ok(())
    })
}

#[test]
fn read_only_reaches_what_is_mounted_below_unless_told_otherwise() -> Test {
    with_daemon(&[], |host| {
        let docker = &host.daemon;
        let tree = Tree::new(docker, "tree", "private")?;
        let line = "for f in /t/x /t/below/x; do touch $f 2>/dev/null && echo w || echo r; done; grep -c ' /t/below ' /proc/mounts; true";
        let rows = [
            (tree.mount(""), "w\nw\n1"),
            (tree.mount(",readonly"), "r\nr\n1"),
            (format!("-v {}:/t:ro", tree.path), "r\nr\n1"),
            (tree.mount(",readonly,bind-recursive=enabled"), "r\nr\n1"),
            (tree.mount(",readonly,bind-recursive=writable"), "r\nw\n1"),
            (
                tree.mount(",readonly,bind-recursive=readonly,bind-propagation=rprivate"),
                "r\nr\n1",
            ),
            (tree.mount(",readonly,bind-recursive=disabled"), "r\nr\n0"),
            (tree.mount(",bind-recursive=disabled"), "w\nw\n0"),
        ];
        for (options, wanted) in rows {
            assert_eq!(run(docker, &options, line)?.ok()?, wanted, "{options}");
            tree.shell("rm -f $t/x $t/below/x")?;
        }
        for (options, says) in [
            (",bind-recursive=writable", "requires 'readonly'"),
            (",bind-recursive=joy", "invalid value for bind-recursive"),
            (",bind-propagation=joy", "invalid propagation mode: joy"),
        ] {
            contains(&run(docker, &tree.mount(options), "true")?.failed()?, says);
        }
        let absent = tree.mount("").replace("/tree", "/no-such");
        contains(
            &run(docker, &absent, "true")?.failed()?,
            "bind source path does not exist",
        );
        for mode in ["rshared,rslave", "joy", "ro,rw"] {
            let options = format!("-v {}:/t:{mode}", tree.path);
            contains(
                &run(docker, &options, "true")?.failed()?,
                &format!("invalid mode: {mode}"),
            );
        }
        tree.shell("umount -n -l $t")?;
        Ok(())
    })
}
