//! Every kind of object through its life: the events with their actors' attributes.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use netlab::{Api, Single, wait_for};
use serde_json::Value;

use crate::{
    Test,
    recorded::{Ids, assert_golden, dockerd, golden, is_recording},
};

/// What users do. `until:COUNT ACTION of ATTRIBUTE` waits until so many such events were told, and belongs to the line
/// before it.
const LIFE: [&str; 46] = [
    "tag busybox:latest busybox:two",
    "rmi busybox:two",
    "network create --label a=b -o com.docker.network.bridge.name=like0 lan",
    "volume create --label x=y data",
    "create --name one -l tier=front -v data:/data --network lan busybox sh -c SCRIPT",
    "start one",
    "pause one",
    "unpause one",
    "rename one uno",
    "update -m 64m --memory-swap 64m uno",
    "exec uno true",
    "exec uno sh -c exit/4",
    "exec -d uno sleep 0",
    "until:3 exec_die of name=uno",
    "kill -s HUP uno",
    "cp /etc/hostname uno:/file",
    "cp uno:/file -",
    "top uno",
    "export uno",
    "network connect bridge uno",
    "network disconnect bridge uno",
    "stop -t 1 uno",
    "start uno",
    "restart -t 1 uno",
    "kill uno",
    "until:3 die of name=uno",
    "rm uno",
    "run --rm --network none --name brief busybox true",
    "run --network none --name failing busybox false",
    "until:1 die of name=failing",
    "run --network none --name absent busybox /absent",
    "run -d --name looping --network none --restart on-failure:1 busybox false",
    "until:2 die of name=looping",
    "rm -f looping",
    "run -d --name well --network none --health-cmd true --health-interval 1h --health-start-period 1h \
     --health-start-interval 1s busybox sleep 600",
    "until:1 health_status: healthy of name=well",
    "stop -s KILL well",
    "create --name spare --network host -v /anonymous busybox true",
    "rm -v spare",
    "container prune -f",
    "network rm lan",
    "network create spare",
    "network prune -f",
    "volume rm data",
    "volume create spare",
    "system prune -f --volumes",
];

const SCRIPT: &str = "trap 'exit 3' TERM; while :; do sleep 0.1; done";

/// A daemon that is made to live through it.
struct Player<'a> {
    docker: &'a dyn Fn(&[&str]) -> anyhow::Result<netlab::Finished>,
    api: Api,
}

#[derive(Debug)]
struct Event {
    nanos: u64,
    text: String,
}

impl Player<'_> {
    /// Plays it, and writes what was told of each line under it.
    fn play(&self) -> anyhow::Result<String> {
        let begun = now();
        let mut marks = Vec::new();
        for line in LIFE {
            match line.strip_prefix("until:") {
                Some(wanted) => wait_for(line, Duration::from_secs(60), || {
                    let told = self.events(begun)?;
                    anyhow::ensure!(are_there(&told, wanted), "not yet");
                    Ok(())
                })?,
                None => {
                    marks.push((now(), line));
                    let words = line.split(' ').map(|word| match word {
                        "SCRIPT" => SCRIPT.to_owned(),
                        other => other.replace('/', if other.starts_with("exit") { " " } else { "/" }),
                    });
                    let words: Vec<String> = words.collect();
                    (self.docker)(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
                }
            }
        }
        let told = self.events(begun)?;
        let mut ids = Ids::default();
        let mut text = String::new();
        for (at, (from, line)) in marks.iter().enumerate() {
            let to = marks.get(at + 1).map_or(u64::MAX, |(next, _)| *next);
            text.push_str(&format!("$ docker {line}\n"));
            for event in told.iter().filter(|event| (*from..to).contains(&event.nanos)) {
                text.push_str(&ids.plain(&event.text));
                text.push('\n');
            }
        }
        Ok(text)
    }

    fn events(&self, since: u64) -> anyhow::Result<Vec<Event>> {
        let time = |nanos: u64| format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
        let path = format!("/events?since={}&until={}", time(since), time(now()));
        let answer = self.api.call(http::Method::GET, &path, None)?;
        let lines = String::from_utf8(answer.body.to_vec())?;
        lines
            .lines()
            .map(|line| Ok(event(&serde_json::from_str(line)?)))
            .collect()
    }
}

/// Whether as many events were told as `COUNT ACTION of ATTRIBUTE` wants.
fn are_there(told: &[Event], wanted: &str) -> bool {
    let (count, rest) = wanted.split_once(' ').unwrap_or(("1", wanted));
    let (action, attribute) = rest.split_once(" of ").unwrap_or((rest, ""));
    let is = |event: &&Event| {
        event.text.starts_with(&format!("container {action} ")) && event.text.contains(attribute)
    };
    told.iter().filter(is).count() >= count.parse().unwrap_or(1)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// All fields, with those that are each run's own as words.
fn event(json: &Value) -> Event {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attributes = json["Actor"]["Attributes"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let sorted: BTreeMap<_, _> = attributes.iter().collect();
    let mut words = vec![
        text(&json["Type"]),
        text(&json["Action"]),
        text(&json["Actor"]["ID"]),
        format!("scope={}", text(&json["scope"])),
    ];
    for old in ["status", "id", "from"] {
        if json.get(old).is_some() {
            words.push(format!("{old}={}", text(&json[old])));
        }
    }
    words.extend(sorted.iter().map(|(key, value)| {
        let own = matches!(key.as_str(), "execDuration" | "reclaimed");
        format!("{key}={}", if own { "(any)".to_owned() } else { text(value) })
    }));
    Event {
        nanos: json["timeNano"].as_u64().unwrap_or_default(),
        text: words.join(" "),
    }
}

#[test]
fn what_dockerd_tells() -> Test {
    let Some((_lab, docker)) = dockerd(&[])? else {
        return Ok(());
    };
    let player = Player {
        docker: &|words| docker.docker(words),
        api: docker.api(),
    };
    let theirs = player.play()?;
    if is_recording() {
        return assert_golden("events.txt", &theirs);
    }
    // In which order it gives things back is chance there, too.
    assert_eq!(comparable(&theirs), comparable(&golden("events.txt")?));
    Ok(())
}

#[test]
fn this_daemon_tells_the_same() -> Test {
    let single = Single::start(&[])?;
    let player = Player {
        docker: &|words| single.daemon.docker(words),
        api: single.daemon.api(),
    };
    let ours = player.play()?;
    assert_eq!(
        comparable(&ours),
        comparable(&golden("events.txt")?),
        "dockerd's on the right"
    );
    Ok(())
}

/// What two daemons may tell differently:
/// - when and in which order a container that ends gives back what it had; here it has ended first. So ends and what
///   belongs to them are compared apart from the lines that caused them;
/// - mounts of volumes for `cp`: of a container that runs, dockerd mounts them once more, which nobody needs here;
/// - a container whose command is not there is connected here before that is seen.
fn comparable(text: &str) -> String {
    let mut parts: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        if line.starts_with("$ ") {
            parts.push(vec![line]);
        } else if let Some(part) = parts.last_mut() {
            part.push(line);
        }
    }
    let mut late: Vec<&str> = Vec::new();
    for part in &mut parts {
        let line = part[0];
        part.retain(|event| {
            let again = line.contains(" cp ") && event.starts_with("volume ");
            let early = line.contains("/absent") && event.starts_with("network connect");
            let ends = [" die ", " exec_die ", "network disconnect ", "volume unmount "];
            let ends = !event.starts_with("$ ") && ends.iter().any(|kind| event.contains(kind));
            if ends && !again {
                late.push(event);
            }
            !again && !early && !ends
        });
        part[1..].sort_unstable();
    }
    late.sort_unstable();
    parts.push(late);
    parts.concat().join("\n")
}
