//! The names and kinds of fields, in old versions of the API and in new ones.

use std::collections::BTreeSet;

use netlab::{Api, Finished, Single};
use serde_json::Value;

use crate::{
    Test,
    recorded::{assert_golden, assert_known, dockerd, golden},
};

/// Versions between which something changed.
const VERSIONS: [&str; 9] = [
    "1.24", "1.30", "1.41", "1.42", "1.44", "1.46", "1.48", "1.49", "1.51",
];

/// What is asked of each.
const ASKED: [&str; 12] = [
    "/info",
    "/version",
    "/containers/json",
    "/containers/json?size=1",
    "/containers/web/json",
    "/containers/ended/json",
    "/networks/lan",
    "/networks",
    "/volumes/data",
    "/images/json",
    "/images/busybox/json",
    "/system/df",
];

/// What is there when it is asked.
const SCENE: [&str; 4] = [
    "network create --subnet 10.71.0.0/24 --label a=b lan",
    "volume create --label a=b data",
    "run -d --name web --network lan -p 127.0.0.1:8070:80 -v data:/data --health-cmd true -l a=b \
     --restart on-failure:3 -m 64m --ulimit nofile=100:200 --device /dev/null:/dev/nothing busybox sleep 600",
    "run --name ended --network host busybox false",
];

/// Maps whose keys are names of things.
const NAMED: [&str; 7] = [
    "Runtimes",
    "IndexConfigs",
    "Networks",
    "Containers",
    "Labels",
    "Details",
    "Platforms",
];

struct Player<'a> {
    docker: &'a dyn Fn(&[&str]) -> anyhow::Result<Finished>,
    api: Api,
}

impl Player<'_> {
    fn play(&self) -> anyhow::Result<String> {
        for line in SCENE {
            (self.docker)(&line.split_whitespace().collect::<Vec<_>>())?;
        }
        let mut text = String::new();
        for path in ASKED {
            let mut before = BTreeSet::new();
            for version in VERSIONS {
                let answer = self
                    .api
                    .call(http::Method::GET, &format!("/v{version}{path}"), None)?;
                let mut now = BTreeSet::new();
                fields(&mut now, "", &answer.json()?);
                text.push_str(&format!("GET /v{version}{path}\n"));
                for gone in before.difference(&now) {
                    text.push_str(&format!("- {gone}\n"));
                }
                for new in now.difference(&before) {
                    text.push_str(&format!("+ {new}\n"));
                }
                before = now;
            }
        }
        Ok(text)
    }
}

/// Every field with its kind. What stands in lists and in maps of names is one thing, by its first.
fn fields(into: &mut BTreeSet<String>, at: &str, value: &Value) {
    // Each host's own.
    if at == ".Warnings" || at.starts_with(".KernelMemory") {
        return;
    }
    match value {
        Value::Object(map) if !map.is_empty() => {
            let named = NAMED.iter().any(|name| at.ends_with(&format!(".{name}")));
            for (key, value) in map {
                let key = if named { "*" } else { key };
                fields(into, &format!("{at}.{key}"), value);
            }
        }
        Value::Array(values) if values.iter().any(Value::is_object) => {
            for value in values {
                fields(into, &format!("{at}[]"), value);
            }
        }
        Value::Null => drop(into.insert(format!("{at} null"))),
        Value::Bool(_) => drop(into.insert(format!("{at} bool"))),
        Value::Number(_) => drop(into.insert(format!("{at} number"))),
        Value::String(_) => drop(into.insert(format!("{at} text"))),
        Value::Array(_) => drop(into.insert(format!("{at} list"))),
        Value::Object(_) => drop(into.insert(format!("{at} map"))),
    }
}

#[test]
fn what_dockerd_answers() -> Test {
    let Some((_lab, docker)) = dockerd(&[])? else {
        return Ok(());
    };
    let player = Player {
        docker: &|words| docker.docker(words),
        api: docker.api(),
    };
    assert_golden("shapes.txt", &player.play()?)
}

#[test]
fn this_daemon_answers_the_same() -> Test {
    let single = Single::start(&[])?;
    let player = Player {
        docker: &|words| single.daemon.docker(words),
        api: single.daemon.api(),
    };
    let (ours, theirs) = (player.play()?, golden("shapes.txt")?);
    let differences = differences(&ours, &theirs);
    assert_known("shapes-here.txt", &differences)
}

/// What each version has here and not there, and the other way round.
fn differences(ours: &str, theirs: &str) -> String {
    let mut text = String::from(
        "Fields that this daemon's answers have and dockerd's have not (+), and the other way round (-).\n",
    );
    let (ours, theirs) = (parts(ours), parts(theirs));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let lines: Vec<String> = ours
            .1
            .difference(&theirs.1)
            .map(|field| format!("{} + {field}\n", ours.0))
            .chain(
                theirs
                    .1
                    .difference(&ours.1)
                    .map(|field| format!("{} - {field}\n", ours.0)),
            )
            .collect();
        text.push_str(&lines.concat());
    }
    text
}

/// Each question with all fields of its answer, from what is written as changes from one version to the next.
fn parts(text: &str) -> Vec<(String, BTreeSet<String>)> {
    let mut parts: Vec<(String, BTreeSet<String>)> = Vec::new();
    let path = |line: &str| line.splitn(3, "/").nth(2).map(str::to_owned);
    for line in text.lines() {
        if line.starts_with("GET ") {
            let before = parts.last().filter(|(last, _)| path(last) == path(line));
            let fields = before.map(|(_, fields)| fields.clone()).unwrap_or_default();
            parts.push((line.to_owned(), fields));
        } else if let Some((_, fields)) = parts.last_mut() {
            match line.split_at_checked(2) {
                Some(("- ", gone)) => drop(fields.remove(gone)),
                Some((_, new)) => drop(fields.insert(new.to_owned())),
                None => {}
            }
        }
    }
    parts
}
