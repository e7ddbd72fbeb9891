//! Another machine driven over TCP, walkthrough S3: with certificates of both sides, and not without them unless the
//! administrator insists.

use std::{path::Path, process::Command, time::Duration};

use netlab::{DockerClient, Finished, Programs, Single, wait_for};

type Test = anyhow::Result<()>;

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} lacks {expected:?}");
}

/// A certificate of the tests' own authority.
fn pem(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-proto/tests/tls");
    folder.join(name).display().to_string()
}

/// `docker` on the host, with nothing but these words to lead it.
fn docker(host: &Single, client: DockerClient, words: &[&str]) -> anyhow::Result<Finished> {
    let mut command = Command::new(client.program()?);
    command
        .env_remove("DOCKER_HOST")
        .env("HOME", host.daemon.host().folder())
        .args(words);
    host.daemon.host().run_command(command, b"typed\n")
}

#[test]
fn s3_a_client_with_a_certificate_drives_the_daemon_and_nobody_else_does() -> Test {
    let (ca, cert, key) = (pem("ca.pem"), pem("plugin.pem"), pem("plugin.key"));
    let flags = [
        "-H",
        "tcp://127.0.0.1:2376",
        "--tlsverify",
        "--tlscacert",
        &ca,
        "--tlscert",
        &cert,
        "--tlskey",
        &key,
    ];
    let host = Single::start(&flags)?;
    let (client, client_key) = (pem("host.pem"), pem("host.key"));
    let known = [
        "-H",
        "tcp://127.0.0.1:2376",
        "--tlsverify",
        "--tlscacert",
        &ca,
        "--tlscert",
        &client,
        "--tlskey",
        &client_key,
    ];
    for client in DockerClient::ALL {
        let ask = |words: &[&str]| docker(&host, client, &[&known[..], words].concat());
        contains(&ask(&["version", "--format", "{{.Server.Version}}"])?.ok()?, ".");
        assert_eq!(ask(&["run", "--rm", "busybox", "echo", "far"])?.ok()?, "far");
        // Streams go both ways, and their ends are seen.
        assert_eq!(ask(&["run", "--rm", "-i", "busybox", "cat"])?.ok()?, "typed");
        ask(&["run", "-d", "--name", "one", "busybox", "sleep", "600"])?.ok()?;
        assert_eq!(ask(&["exec", "one", "sh", "-c", "echo out; exit 3"])?.code, 3);
        // Without a certificate, with TLS alone, with none at all.
        let nobody = ["-H", "tcp://127.0.0.1:2376", "--tls", "--tlscacert", &ca, "ps"];
        contains(&docker(&host, client, &nobody)?.failed()?, "certificate required");
        contains(
            &docker(&host, client, &["-H", "tcp://127.0.0.1:2376", "ps"])?.failed()?,
            "Are you trying to connect to a TLS-enabled daemon without TLS?",
        );
        assert_eq!(ask(&["ps", "-q", "--no-trunc"])?.ok()?.len(), 64);
        ask(&["rm", "-f", "one"])?.ok()?;
    }
    // A client that says nothing keeps nobody waiting.
    let mut silent = Command::new(Programs::peer("busybox")?);
    silent
        .args(["nc", "127.0.0.1", "2376"])
        .stdin(std::process::Stdio::piped());
    let _silent = host.daemon.host().start("silent", silent)?;
    let shown = docker(&host, DockerClient::New, &[&known[..], &["version"]].concat())?;
    contains(&shown.ok()?, "Server:");
    Ok(())
}

/// `cnm` on the host, led by these variables and words alone.
fn cnm(host: &Single, variables: &[(&str, &str)], words: &[&str]) -> anyhow::Result<Finished> {
    let mut command = Command::new(Programs::find()?.ours("cnm"));
    for name in ["CNM_HOST", "DOCKER_HOST"] {
        command.env_remove(name);
    }
    command.env("HOME", host.daemon.host().folder());
    command.envs(variables.iter().copied()).args(words);
    host.daemon.host().run_command(command, b"typed\n")
}

/// Where the daemon listens.
const THERE: &str = "tcp://127.0.0.1:2376";

/// `-H` with TLS and these three files.
fn tls<'a>(ca: &'a str, cert: &'a str, key: &'a str) -> Vec<&'a str> {
    let words = "-H THERE --tlsverify --tlscacert CA --tlscert CERT --tlskey KEY".split(' ');
    let given = |word: &'a str| match word {
        "THERE" => THERE,
        "CA" => ca,
        "CERT" => cert,
        "KEY" => key,
        other => other,
    };
    words.map(given).collect()
}

#[test]
fn s3_our_own_command_line_shows_its_certificate_too() -> Test {
    let (ca, cert, key) = (pem("ca.pem"), pem("plugin.pem"), pem("plugin.key"));
    let host = Single::start(&tls(&ca, &cert, &key))?;
    let (client, client_key) = (pem("host.pem"), pem("host.key"));
    let known = tls(&ca, &client, &client_key);
    let ask = |words: &[&str]| cnm(&host, &[], &[&known[..], words].concat());
    assert_eq!(ask(&["run", "--rm", "busybox", "echo", "far"])?.ok()?, "far");
    assert_eq!(ask(&["run", "--rm", "-i", "busybox", "cat"])?.ok()?, "typed");
    ask(&["run", "-d", "--name", "one", "busybox", "sleep", "600"])?.ok()?;
    assert_eq!(ask(&["exec", "one", "sh", "-c", "echo out; exit 3"])?.code, 3);
    // Flags may stand behind the command, and variables in their place: a folder with the three files.
    let behind = [&["ps", "-q"][..], &known].concat();
    assert_eq!(cnm(&host, &[], &behind)?.ok()?.len(), 12);
    let folder = host.daemon.host().folder().join("certificates");
    std::fs::create_dir(&folder)?;
    for (from, to) in [(&ca, "ca.pem"), (&client, "cert.pem"), (&client_key, "key.pem")] {
        std::fs::copy(from, folder.join(to))?;
    }
    let place = folder.display().to_string();
    let (verify, files) = (("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", &*place));
    let variables = [("DOCKER_HOST", THERE), verify, files];
    assert_eq!(cnm(&host, &variables, &["ps", "-q"])?.ok()?.len(), 12);
    ask(&["rm", "-f", "one"])?.ok().map(drop)
}

#[test]
fn s3_our_own_command_line_takes_nobody_else_for_the_daemon() -> Test {
    let (ca, cert, key) = (pem("ca.pem"), pem("plugin.pem"), pem("plugin.key"));
    let host = Single::start(&tls(&ca, &cert, &key))?;
    let (client, client_key) = (pem("host.pem"), pem("host.key"));
    let refused = |words: &[&str]| cnm(&host, &[], &[words, &["ps"]].concat())?.failed();
    let nobody = refused(&["-H", THERE, "--tlsverify", "--tlscacert", &ca])?;
    contains(&nobody, "does the daemon want a certificate of yours?");
    contains(&refused(&["-H", THERE])?, "--tlsverify");
    let stranger = refused(&["-H", THERE, "--tlsverify", "--tlscacert", &client])?;
    contains(&stranger, "invalid peer certificate");
    contains(&refused(&["-H", "tcp://127.0.0.1:1"])?, "tcp://127.0.0.1:1");
    // Without --tlsverify whoever answers is taken.
    let unseen: Vec<_> = tls(&ca, &client, &client_key)
        .into_iter()
        .map(|word| if word == "--tlsverify" { "--tls" } else { word })
        .collect();
    assert_eq!(cnm(&host, &[], &[&unseen[..], &["ps", "-q"]].concat())?.ok()?, "");
    Ok(())
}

#[test]
fn s3_tcp_without_certificates_is_refused_unless_somebody_insists() -> Test {
    let mut host = Single::start(&[])?;
    host.daemon.stop()?;
    let plain = ["-H".to_owned(), "tcp://127.0.0.1:2375".to_owned()];
    host.daemon.flags_mut().extend(plain);
    let refused = format!("{:#}", host.daemon.start_again().expect_err("open to everybody"));
    contains(&refused, "makes everybody root who can reach it");
    contains(&refused, "--insecure-tcp");
    host.daemon.flags_mut().push("--insecure-tcp".to_owned());
    host.daemon.start_again()?;
    assert_eq!(
        docker(
            &host,
            DockerClient::Old,
            &[
                "-H",
                "tcp://127.0.0.1:2375",
                "run",
                "--rm",
                "busybox",
                "echo",
                "open"
            ]
        )?
        .ok()?,
        "open"
    );
    contains(
        &host.daemon.log(),
        "everybody who can reach it is root on this host",
    );
    Ok(())
}

#[test]
fn sighup_has_the_configuration_read_again() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    let config = docker.host().folder().join("daemon.json");
    let labels = || {
        docker
            .docker(&["info", "--format", "{{json .Labels}} {{.Debug}}"])?
            .ok()
    };
    assert_eq!(labels()?, "[] false");
    let since = docker.docker(&["info", "--format", "{{.SystemTime}}"])?.ok()?;
    let reload = |text: &str| -> anyhow::Result<()> {
        std::fs::write(&config, text)?;
        let id = docker
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .unwrap_or_default();
        Ok(nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(id),
            nix::sys::signal::Signal::SIGHUP,
        )?)
    };
    reload(r#"{"labels": ["rack=7"], "debug": true, "mtu": 1400}"#)?;
    wait_for("the new labels", Duration::from_secs(10), || {
        let shown = labels()?;
        anyhow::ensure!(shown == r#"["rack=7"] true"#, "{shown}");
        Ok(())
    })?;
    contains(&docker.log(), "taken at the next start only: mtu");
    reload(r#"{"labels": 7}"#)?;
    wait_for("the refusal", Duration::from_secs(10), || {
        anyhow::ensure!(docker.log().contains("nothing is changed"), "not yet");
        Ok(())
    })?;
    assert_eq!(labels()?, r#"["rack=7"] true"#);
    let until = docker.docker(&["info", "--format", "{{.SystemTime}}"])?.ok()?;
    let line = [
        "events",
        "--since",
        &since,
        "--until",
        &until,
        "-f",
        "type=daemon",
        "--format",
        "{{.Action}}",
    ];
    assert_eq!(docker.docker(&line)?.ok()?, "reload");
    Ok(())
}
