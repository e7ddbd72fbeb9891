//! SIGHUP: what is taken over from `daemon.json`, and the event that tells of it.

use std::{collections::BTreeMap, fs, time::Duration};

use netlab::{Api, Single, wait_for};
use serde_json::{Value, json};

use crate::{
    Test,
    recorded::{assert_golden, dockerd, golden},
};

/// Everything that dockerd takes over.
fn config() -> Value {
    json!({
        "debug": true,
        "labels": ["a=b", "c=d"],
        "live-restore": true,
        "max-concurrent-downloads": 4,
        "max-concurrent-uploads": 6,
        "max-download-attempts": 7,
        "insecure-registries": ["reg.lan:5000", "10.1.0.0/16"],
        "registry-mirrors": ["https://mirror.lan"],
        "shutdown-timeout": 20,
        "features": {"one": true},
    })
}

/// The event's attributes, once it was told, and what `info` says then.
fn told(api: &Api) -> anyhow::Result<String> {
    let event: Value = wait_for("the event of the reload", Duration::from_secs(30), || {
        let path = "/events?since=1&until=9999999999&filters=%7B%22event%22%3A%5B%22reload%22%5D%7D";
        // The end lies ahead, so it is asked for what was, with the end now.
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs()
            + 1;
        let path = path.replace("9999999999", &now.to_string());
        let answer = api.call(http::Method::GET, &path, None)?;
        let text = String::from_utf8(answer.body.to_vec())?;
        let line = text.lines().last().unwrap_or_default();
        Ok(serde_json::from_str(line)?)
    })?;
    let mut text = format!("{} {}\n", event["Type"], event["Action"]);
    let attributes = event["Actor"]["Attributes"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let sorted: BTreeMap<_, _> = attributes.into_iter().collect();
    for (key, value) in sorted {
        let value = value.as_str().unwrap_or_default();
        match key == "labels" {
            true => text.push_str(&format!("{key}={}\n", in_order(&serde_json::from_str(value)?))),
            false => text.push_str(&format!("{key}={value}\n")),
        }
    }
    let info = api.get("/info")?;
    for path in ["/Debug", "/Labels", "/RegistryConfig", "/LiveRestoreEnabled"] {
        let value = info.pointer(path).cloned().unwrap_or_default();
        let value = if path == "/Labels" {
            in_order(&value)
        } else {
            value
        };
        text.push_str(&format!("info {path} {}\n", sorted_json(&value)));
    }
    Ok(text)
}

/// dockerd keeps labels in a map, and lists them as chance has it.
fn in_order(labels: &Value) -> Value {
    let mut labels: Vec<_> = labels.as_array().into_iter().flatten().cloned().collect();
    labels.sort_by_key(Value::to_string);
    labels.into()
}

fn sorted_json(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().map(|(key, value)| (key, sorted_json(value))).collect();
            let pairs = sorted.iter().map(|(key, value)| format!("{key}: {value}"));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[test]
fn what_dockerd_takes_over() -> Test {
    let Some((_lab, docker)) = dockerd(&[])? else {
        return Ok(());
    };
    let host = docker.host();
    fs::write(host.folder().join("dockerd.json"), config().to_string())?;
    host.run("sh", &["-c", "kill -HUP $(cat /run/docker.pid)"])?
        .ok()?;
    assert_golden("reload.txt", &told(&docker.api())?)
}

#[test]
fn this_daemon_takes_over_the_same_and_names_what_waits() -> Test {
    let single = Single::start(&[])?;
    let daemon = &single.daemon;
    let file = daemon.host().folder().join("daemon.json");
    let hangup = || -> Test {
        let id = daemon.id().unwrap_or_default().to_string();
        daemon.host().run("kill", &["-HUP", &id])?.ok().map(drop)
    };
    let mut wanted = config();
    wanted["mtu"] = 1400.into();
    fs::write(&file, wanted.to_string())?;
    hangup()?;
    let ours = told(&daemon.api())?;
    let theirs = golden("reload.txt")?;
    let own = ["default-runtime=", "default-cgroupns-mode="];
    let rest = |text: &str| {
        let lines = text
            .lines()
            .filter(|line| !own.iter().any(|own| line.starts_with(own)));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(rest(&ours), rest(&theirs), "dockerd's on the right");
    assert!(
        daemon.log().contains("taken at the next start only: mtu"),
        "{}",
        daemon.log()
    );
    // What is wrong changes nothing, and the daemon goes on.
    for wrong in [
        r#"{"labels": 7}"#,
        r#"{"colour": "red"}"#,
        "{",
        r#"{"insecure-registries": ["a b"]}"#,
    ] {
        fs::write(&file, wrong)?;
        let before = daemon.log().matches("nothing is changed").count();
        hangup()?;
        wait_for("the refusal", Duration::from_secs(30), || {
            let now = daemon.log().matches("nothing is changed").count();
            anyhow::ensure!(now > before, "not yet");
            Ok(())
        })?;
    }
    assert_eq!(daemon.api().get("/info")?["Labels"], json!(["a=b", "c=d"]));
    Ok(())
}
