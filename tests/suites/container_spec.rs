//! What a container is made of, flag by flag, typed with the real `docker` command: limits, devices, capabilities,
//! namespaces, mounts. Wrong values are answered as Docker does, and leave nothing.

#[path = "container_spec/mounts.rs"]
mod mounts;
#[path = "container_spec/table.rs"]
mod table;
#[path = "container_spec/users.rs"]
mod users;

use netlab::{Daemon, Finished, Single};

type Test = anyhow::Result<()>;

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} lacks {expected:?}");
}

/// `docker run --rm` with options, where `[SPACE]` stands for one in an argument, and a shell line as the command.
fn run(docker: &Daemon, options: &str, line: &str) -> anyhow::Result<Finished> {
    let mut words = vec!["run".to_owned(), "--rm".to_owned()];
    let options = options.split(' ').filter(|word| !word.is_empty());
    words.extend(options.map(|word| word.replace("[SPACE]", " ")));
    words.extend(["busybox", "sh", "-c", line].map(str::to_owned));
    docker.docker(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A daemon that, when the test is over, has no container, and nothing of one is left in its folders.
fn with_daemon(flags: &[&str], test: impl FnOnce(&Single) -> Test) -> Test {
    let host = Single::start_with_own_files(flags)?;
    test(&host)?;
    assert_eq!(host.daemon.ok("ps -aq")?, "");
    let left = std::fs::read_dir(host.daemon.data_root().join("containers"))?.count();
    assert_eq!(left, 0, "folders of containers are left");
    let mounts = std::fs::read_to_string(format!("/proc/{}/mounts", host.daemon.id().unwrap_or_default()))?;
    let ours = host.daemon.data_root().join("containers").display().to_string();
    assert!(!mounts.contains(&ours), "{ours} in {mounts}");
    Ok(())
}
