//! A host that is started anew: its power was cut, or it was shut down in order. Each test has a boot of its own, on the
//! same disk, with the daemon's usual folders; the one before leaves for the next what is to be found.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use netlab::{Api, Programs, busybox_archive, wait_for};

use super::{Test, contains};

/// What is remembered from boot to boot.
const NOTES: &str = "/var/lib/notes";
const SOCKET: &str = "/run/cnm/cnm.sock";
const SOON: Duration = Duration::from_secs(30);

/// The daemon as the units start it. It goes on when a test ends.
fn start() -> anyhow::Result<Child> {
    let log = File::create(Path::new(NOTES).join("cnmd.log"))?;
    let mut command = Command::new(Programs::find()?.ours("cnmd"));
    command.stdout(log.try_clone()?).stderr(log);
    let child = command.spawn()?;
    let api = Api::at(SOCKET.into());
    wait_for("the daemon to answer", SOON, || api.get("/_ping"))?;
    Ok(child)
}

fn run(program: &Path, words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(words).output()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{words:?}: {said} {complaint}");
    Ok(said)
}

fn cnm(line: &str) -> anyhow::Result<String> {
    run(
        &Programs::find()?.ours("cnm"),
        &line.split(' ').collect::<Vec<_>>(),
    )
}

/// A container that notes when it starts, and listens to the signal that ends it.
fn container(name: &str, flags: &str) -> Test {
    let script = format!(
        "trap 'echo {name} ends >>/notes/said; exit 0' TERM; echo {name} >>/notes/started; while :; do sleep 0.2; done"
    );
    let mut words = vec!["run", "-d", "--name", name, "-v", "/var/lib/notes:/notes"];
    words.extend(flags.split(' ').filter(|word| !word.is_empty()));
    words.extend(["busybox", "sh", "-c", &script]);
    run(&Programs::find()?.ours("cnm"), &words).map(drop)
}

fn note(name: &str) -> String {
    fs::read_to_string(Path::new(NOTES).join(name)).unwrap_or_default()
}

const ADDRESSES: &str = "inspect -f {{.Name}}={{range.NetworkSettings.Networks}}{{.IPAddress}},{{.GlobalIPv6Address}},{{.MacAddress}};{{end}} always unless second";

fn status(name: &str) -> anyhow::Result<String> {
    cnm(&format!("inspect -f {{{{.State.Status}}}} {name}"))
}

#[test]
fn first_boot_makes_what_is_to_last() -> Test {
    fs::create_dir_all(NOTES)?;
    start()?;
    let archive = busybox_archive(Path::new(NOTES))?;
    let import = "/images/create?fromSrc=-&repo=busybox&tag=latest";
    Api::at(SOCKET.into())
        .send(http::Method::POST, import, "application/x-tar", archive.into())?
        .ok_or_message()?;
    cnm("network create --subnet 10.44.0.0/24 --ipv6 --subnet fd00:44::/64 lan")?;
    cnm("network create -d ipvlan --subnet 10.45.0.0/24 alone")?;
    cnm("volume create kept")?;
    container(
        "always",
        "--restart always --network lan --ip 10.44.0.77 -p 8080:80 -v kept:/kept",
    )?;
    // Younger than who needs it.
    container(
        "unless",
        "--restart unless-stopped --network lan --network-alias other",
    )?;
    container("guest", "--restart always --network container:always")?;
    container("second", "--restart unless-stopped --network alone")?;
    cnm("network connect lan second")?;
    container("stopped", "--restart unless-stopped")?;
    container("halted", "--restart always")?;
    container("once", "--network lan")?;
    container("brief", "--rm --network lan")?;
    wait_for("all to have begun", SOON, || {
        let started = note("started");
        ensure!(started.lines().count() == 8, "{started}");
        Ok(())
    })?;
    cnm("stop -t 5 stopped halted")?;
    cnm("exec always sh -c echo>/kept/here")?;
    fs::write(Path::new(NOTES).join("addresses"), cnm(ADDRESSES)?)?;
    fs::write(
        Path::new(NOTES).join("boot"),
        fs::read("/proc/sys/kernel/random/boot_id")?,
    )?;
    fs::remove_file(Path::new(NOTES).join("started"))?;
    Ok(())
}

/// What is so after every boot.
fn is_as_before() -> Test {
    ensure!(
        note("boot") != fs::read_to_string("/proc/sys/kernel/random/boot_id")?,
        "it is another boot"
    );
    wait_for("all to run again", SOON, || {
        for name in ["always", "unless", "guest", "second"] {
            let status = status(name)?;
            ensure!(status == "running", "{name} is {status}: {}", note("cnmd.log"));
        }
        Ok(())
    })?;
    wait_for("all to have started", SOON, || {
        let started = note("started");
        for name in ["always", "unless", "guest", "second"] {
            ensure!(started.contains(name), "{started}");
        }
        Ok(())
    })?;
    for name in ["stopped", "once"] {
        assert_eq!(status(name)?, "exited", "{name}");
    }
    let all = cnm("ps -a --format {{.Names}}")?;
    ensure!(!all.contains("brief"), "what had --rm is gone: {all}");
    let started = note("started");
    let place = |name: &str| {
        started
            .lines()
            .position(|line| line == name)
            .context("it started")
    };
    ensure!(
        place("always")? < place("guest")?,
        "nobody before whom he needs: {started}"
    );
    assert_eq!(cnm(ADDRESSES)?, note("addresses"));
    for line in [
        "exec unless ping -c1 -W10 always",
        "exec always ping -c1 -W10 other",
        "exec second ping -c1 -W10 10.44.0.77",
        "exec guest ping -c1 -W10 unless",
        "exec always ping -6 -c1 -W10 unless",
        "exec always test -e /kept/here",
    ] {
        cnm(line)?;
    }
    cnm("exec -d always httpd -p 80 -h /notes")?;
    wait_for("the published port", SOON, || {
        let page = run(
            Path::new("/usr/bin/curl"),
            &["-s", "-m", "5", "http://127.0.0.1:8080/boot"],
        )?;
        ensure!(page == note("boot").trim(), "{page}");
        Ok(())
    })?;
    contains(&cnm("network inspect lan")?, "10.44.0.77/24");
    // Addresses are where they were, also for who comes now.
    let next = cnm("run --rm --network lan busybox hostname -i")?;
    ensure!(
        next.starts_with("10.44.0.") && !note("addresses").contains(&format!("={next},")),
        "{next}"
    );
    fs::write(
        Path::new(NOTES).join("boot"),
        fs::read("/proc/sys/kernel/random/boot_id")?,
    )?;
    Ok(())
}

#[test]
fn second_boot_after_the_power_was_cut() -> Test {
    let mut daemon = start()?;
    is_as_before()?;
    // Stopped by its user, and its policy is "always".
    wait_for("what always runs", SOON, || {
        let status = status("halted")?;
        ensure!(status == "running", "{status}");
        Ok(())
    })?;
    ensure!(!note("said").contains("always ends"), "nobody had told them");
    cnm("exec -d once true").expect_err("it does not run");
    // As the units do at a shutdown.
    cnm("run -d --rm --name brief --network lan busybox sleep 3600")?;
    fs::remove_file(Path::new(NOTES).join("started"))?;
    cnm("system stop")?;
    let said = note("said");
    for name in ["always", "unless", "guest", "second"] {
        ensure!(
            said.contains(&format!("{name} ends")),
            "{name} had its time: {said}"
        );
    }
    run(Path::new("/bin/kill"), &[&daemon.id().to_string()])?;
    daemon.wait()?;
    Ok(())
}

#[test]
fn third_boot_after_a_shutdown_in_order() -> Test {
    let mut daemon = start()?;
    is_as_before()?;
    // Nothing is left of it at the end.
    cnm("system reset -f")?;
    assert_eq!(cnm("ps -aq")?, "");
    ensure!(!cnm("network ls")?.contains("lan"), "networks are left");
    let links = fs::read_dir("/sys/class/net")?
        .flatten()
        .map(|entry| entry.file_name());
    let links: Vec<_> = links
        .filter(|name| name.to_string_lossy().starts_with("br-"))
        .collect();
    ensure!(links.is_empty(), "{links:?}");
    run(Path::new("/bin/kill"), &[&daemon.id().to_string()])?;
    daemon.wait()?;
    Ok(())
}
