//! The program itself, run as people run it, against a daemon that is a few lines long.

#[path = "program/fake_daemon.rs"]
mod fake_daemon;
#[path = "program/terminal.rs"]
mod terminal;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use fake_daemon::{Behaviour, FakeDaemon, ID};
use terminal::Terminal;

fn cnm(daemon: &FakeDaemon, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cnm"));
    command
        .args(arguments)
        .env_remove("DOCKER_HOST")
        .env("CNM_HOST", daemon.address());
    command
}

fn run(daemon: &FakeDaemon, arguments: &[&str]) -> Output {
    cnm(daemon, arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn run_shows_both_streams_and_exits_as_the_container_did() {
    let daemon = FakeDaemon::start(Behaviour {
        says: &[(1, "out\n"), (2, "err\n")],
        status: 3,
        ..Behaviour::default()
    });
    let output = run(&daemon, &["run", "--name", "x", "busybox", "sh", "-c", "exit 3"]);
    assert_eq!(
        (text(&output.stdout).as_str(), text(&output.stderr).as_str()),
        ("out\n", "err\n")
    );
    assert_eq!(output.status.code(), Some(3));
    let asked = daemon.asked();
    let order: Vec<&str> = ["create?name=x", "/attach?", "/wait?condition=next-exit", "/start"]
        .into_iter()
        .filter(|part| asked.iter().any(|line| line.contains(part)))
        .collect();
    assert_eq!(order.len(), 4, "{asked:?}");
    let place = |part: &str| asked.iter().position(|line| line.contains(part));
    assert!(
        place("/attach?") < place("/start") && place("/wait?") < place("/start"),
        "{asked:?}"
    );
}

#[test]
fn run_in_the_background_prints_the_id_and_writes_it() {
    let daemon = FakeDaemon::start(Behaviour::default());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("id");
    let path = file.to_str().expect("a path");
    let output = run(&daemon, &["run", "-d", "--cidfile", path, "busybox"]);
    assert_eq!(text(&output.stdout), format!("{ID}\n"));
    assert_eq!(std::fs::read_to_string(&file).expect("written"), ID);
    // The file is there now, so a second container would hide the first.
    let output = run(&daemon, &["run", "-d", "--cidfile", path, "busybox"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("container ID file found"));
}

#[test]
fn stdin_reaches_the_container_and_ends_there() {
    let daemon = FakeDaemon::start(Behaviour {
        echoes: true,
        ..Behaviour::default()
    });
    let mut child = cnm(&daemon, &["run", "-i", "--rm", "busybox", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(b"hello\n")
        .expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        (text(&output.stdout).as_str(), output.status.code()),
        ("hello\n", Some(0))
    );
    assert!(
        daemon
            .asked()
            .iter()
            .any(|line| line.contains("condition=removed"))
    );
}

#[test]
fn an_image_that_is_not_there_is_asked_for_and_then_explained() {
    let daemon = FakeDaemon::start(Behaviour {
        image_missing: true,
        ..Behaviour::default()
    });
    let output = run(&daemon, &["run", "nope"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125));
    assert!(
        said.starts_with("Unable to find image 'nope:latest' locally\n"),
        "{said}"
    );
    assert!(
        said.contains("cnm: Error response from daemon: pulling is not available yet\n"),
        "{said}"
    );
    assert!(said.contains("hint: ") && said.contains("cnm load -i"), "{said}");
    let output = run(&daemon, &["run", "--pull", "never", "nope"]);
    assert!(!text(&output.stderr).contains("Unable to find"));
    assert_eq!(output.status.code(), Some(125));
}

#[test]
fn a_command_that_can_not_be_started_has_an_exit_status_of_its_own() {
    for (refusal, status) in [
        ("exec: \\\"x\\\": executable file not found in $PATH", 127),
        ("exec: \\\"/etc\\\": permission denied", 126),
        ("network ol1 not found", 125),
    ] {
        let daemon = FakeDaemon::start(Behaviour {
            start_refused: Some(refusal),
            ..Behaviour::default()
        });
        for flags in [
            &["run", "busybox"][..],
            &["run", "-d", "busybox"],
            &["run", "--rm", "busybox"],
        ] {
            let output = run(&daemon, flags);
            assert_eq!(
                output.status.code(),
                Some(status),
                "{refusal}: {flags:?}: {}",
                text(&output.stderr)
            );
            assert_eq!(text(&output.stdout), "");
        }
    }
}

#[test]
fn signals_reach_the_container() {
    let daemon = FakeDaemon::start(Behaviour {
        ends_by_signal: true,
        status: 143,
        ..Behaviour::default()
    });
    let mut child = cnm(&daemon, &["run", "busybox", "sleep", "9"])
        .stdin(Stdio::null())
        .spawn()
        .expect("the program runs");
    daemon.wait_for("/start");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signalled");
    assert_eq!(child.wait().expect("it ends").code(), Some(143));
    assert!(
        daemon
            .asked()
            .iter()
            .any(|line| line.contains("/kill?signal=TERM"))
    );
}

#[test]
fn exec_exits_as_its_command_did() {
    let daemon = FakeDaemon::start(Behaviour {
        says: &[(1, "hi\n")],
        status: 7,
        ..Behaviour::default()
    });
    let output = run(
        &daemon,
        &["exec", "-e", "A=1", "-w", "/tmp", "box", "sh", "-c", "exit 7"],
    );
    assert_eq!(
        (text(&output.stdout).as_str(), output.status.code()),
        ("hi\n", Some(7))
    );
    let asked = daemon.asked();
    let created = asked
        .iter()
        .find(|line| line.contains("/containers/box/exec "))
        .expect("created");
    for part in [
        r#""Env":["A=1"]"#,
        r#""WorkingDir":"/tmp""#,
        r#""Cmd":["sh","-c","exit 7"]"#,
    ] {
        assert!(created.contains(part), "{created}");
    }
}

#[test]
fn logs_go_where_they_were_said() {
    let daemon = FakeDaemon::start(Behaviour {
        says: &[(1, "out\n"), (2, "err\n")],
        ..Behaviour::default()
    });
    let output = run(&daemon, &["logs", "--tail", "5", "box"]);
    assert_eq!(
        (text(&output.stdout).as_str(), text(&output.stderr).as_str()),
        ("out\n", "err\n")
    );
    assert!(
        daemon
            .asked()
            .iter()
            .any(|line| line.contains("/logs?") && line.contains("tail=5"))
    );
}

#[test]
fn what_fails_does_not_keep_the_others_from_being_done() {
    let daemon = FakeDaemon::start(Behaviour::default());
    let output = run(&daemon, &["network", "rm", "a", "nope", "b"]);
    assert_eq!(text(&output.stdout), "a\nb\n");
    assert_eq!(
        text(&output.stderr),
        "Error response from daemon: network nope not found\n"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn without_a_daemon_it_says_how_to_start_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_cnm"))
        .args(["-H", "unix:///nonexistent.sock", "ps"])
        .output()
        .expect("the program runs");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.starts_with("cnm: can't connect to the daemon at unix:///nonexistent.sock"),
        "{said}"
    );
    assert!(said.contains("systemctl start cnmd"), "{said}");
}

#[test]
fn the_program_called_net_is_cnm_network() {
    let daemon = FakeDaemon::start(Behaviour::default());
    let folder = tempfile::tempdir().expect("a folder");
    let net = folder.path().join("net");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cnm"), &net).expect("a link");
    let output = Command::new(&net)
        .arg("ls")
        .env("CNM_HOST", daemon.address())
        .output()
        .expect("it runs");
    let expected = "NETWORK ID     NAME                 DRIVER    SCOPE\n\
                    111111111111   bridge               bridge    local\n\
                    222222222222   the-longer-name-of   overlay   global\n";
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn a_terminal_is_raw_has_a_size_and_is_left_by_the_detach_keys() {
    let daemon = FakeDaemon::start(Behaviour {
        tty: true,
        echoes: true,
        ..Behaviour::default()
    });
    let mut terminal = Terminal::open(33, 101);
    let before = terminal.modes();
    let mut child = terminal.spawn(&mut cnm(&daemon, &["run", "-it", "busybox"]));
    daemon.wait_for("/resize?h=33&w=101");
    assert_ne!(terminal.modes(), before, "raw while the container runs");
    terminal.write(b"hello\x10x");
    // What looked like the beginning of the detach keys was none, and reaches the container, too.
    assert!(terminal.read_until("hello\u{10}x").contains("hello\u{10}x"));
    terminal.write(b"\x10\x11");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(terminal.modes(), before, "as it was");
}

#[test]
fn a_terminal_can_not_be_had_from_a_pipe() {
    let daemon = FakeDaemon::start(Behaviour::default());
    let output = run(&daemon, &["run", "-it", "busybox"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the input device is not a TTY"));
    assert!(daemon.asked().is_empty(), "nothing was created");
}

#[test]
fn the_shell_completes_names_of_networks() {
    let daemon = FakeDaemon::start(Behaviour::default());
    let output = cnm(&daemon, &["--", "cnm", "network", "rm", "the"])
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "3")
        .env("_CLAP_IFS", "\n")
        .output()
        .expect("it runs");
    assert_eq!(text(&output.stdout).trim(), "the-longer-name-of");
    let output = run(&daemon, &["completion", "bash"]);
    assert!(text(&output.stdout).contains("COMPLETE=\"bash\""));
}
