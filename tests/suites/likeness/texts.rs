//! What is printed and refused: lines of `docker` and requests of the API, with what came of them.

use http::Method;
use netlab::{Api, Finished, Single};

use crate::{
    Test,
    recorded::{Ids, assert_golden, assert_known, dockerd, golden},
};

/// Options of logs, filters of prunes.
const LINES: [&str; 64] = [
    "run --name noted -l tier=front -l other=x -e CNM_ONE=1 -e TWO=a,b --log-opt labels=tier --log-opt env=TWO \
     --log-opt env-regex=^CNM --log-opt tag={{.Name}}/x busybox echo hello",
    "logs --details noted",
    "logs noted",
    "run --name plain --log-opt mode=non-blocking --log-opt max-buffer-size=1m busybox echo plain",
    "logs --details plain",
    "run --name own --log-driver local --log-opt compress=false --log-opt max-size=1m --log-opt max-file=2 busybox echo own",
    "logs own",
    "run --rm --log-opt mode=sometimes busybox true",
    "run --rm --log-opt max-buffer-size=1m busybox true",
    "run --rm --log-opt max-file=0 busybox true",
    "run --rm --log-opt max-file=2 busybox true",
    "run --rm --log-opt max-size=x busybox true",
    "run --rm --log-opt colour=red busybox true",
    "run --rm --log-driver nothere busybox true",
    "run --rm --log-driver syslog --log-opt syslog-facility=weather busybox true",
    "run --rm --log-driver syslog --log-opt syslog-format=loud busybox true",
    "run --rm --log-driver syslog --log-opt syslog-address=10.0.0.1 busybox true",
    "container prune -f --filter colour=red",
    "container prune -f --filter until=never",
    "container prune -f --filter until=10m --filter until=20m",
    "container prune -f --filter label=nobody",
    "container prune -f --filter until=24h",
    "container prune -f --filter label=tier=front",
    "container prune -f --filter label!=tier",
    "ps -aq",
    "volume create --label keep=1 kept",
    "volume create --label keep=0 other",
    "volume create plain",
    "volume prune -f",
    "volume prune -f --filter until=24h",
    "volume prune -f --filter colour=red",
    "volume prune -f --filter all=maybe",
    "volume prune -f -a --filter label=keep=0",
    "volume prune -f -a --filter label!=keep",
    "volume ls -q",
    "network create --label keep=1 kept",
    "network create other",
    "network prune -f --filter colour=red",
    "network prune -f --filter until=24h",
    "network prune -f --filter label=keep",
    "network prune -f --filter label!=keep",
    "network ls -q -f type=custom",
    "tag busybox again:1",
    "image prune -f --filter colour=red",
    "image prune -f --filter until=24h",
    "image prune -f -a --filter label=nobody",
    "image prune -f --filter dangling=maybe",
    "system prune -f --filter until=24h --volumes",
    "system prune -f --filter label!=keep",
    "events --filter colour=red --until 1",
    "volume ls --filter colour=red",
    "volume inspect nowhere",
    "create --name still -m 64m --memory-swap 64m busybox true",
    "unpause still",
    "pause still",
    "update --memory 128m still",
    "update --memory 32m still",
    "ps -aq --filter name=st.ll",
    "ps -aq --filter name=^/still$",
    "ps -aq --filter name=(",
    "network ls -q --filter name=^(bridge|host)$",
    "run --rm --log-opt compress=true busybox true",
    "run --rm --log-opt compress=maybe --log-opt max-size=1m --log-opt max-file=2 busybox true",
    "run --rm --log-driver local --log-opt max-file=1 busybox true",
];

/// Versions, swarm, and paths that nobody has.
const REQUESTS: [(&str, &str); 25] = [
    ("POST", "/containers/still/unpause"),
    ("POST", "/containers/still/pause"),
    ("DELETE", "/containers/still"),
    ("GET", "/v1.52/info"),
    ("GET", "/v2.0/_ping"),
    ("GET", "/v1.23/version"),
    ("GET", "/v1.24/_ping"),
    ("GET", "/nowhere"),
    ("PUT", "/info"),
    ("GET", "/swarm"),
    ("POST", "/swarm/leave"),
    ("GET", "/nodes"),
    ("GET", "/services"),
    ("GET", "/tasks"),
    ("GET", "/secrets"),
    ("GET", "/configs/none"),
    ("POST", "/services/create"),
    ("GET", "/swarm/unlockkey"),
    ("GET", "/system/df?type=colour"),
    ("GET", "/volumes?filters=%7B"),
    ("GET", "/events?until=then"),
    (
        "POST",
        "/networks/prune?filters=%7B%22until%22%3A%5B%22x%22%5D%7D",
    ),
    ("GET", "/containers/none/logs?stdout=1"),
    ("GET", "/plugins"),
    ("POST", "/containers/prune?filters=nonsense"),
];

struct Player<'a> {
    docker: &'a dyn Fn(&[&str]) -> anyhow::Result<Finished>,
    api: Api,
}

impl Player<'_> {
    fn play(&self) -> anyhow::Result<String> {
        let mut ids = Ids::default();
        let mut text = String::new();
        for line in LINES {
            let line = line.split_whitespace().collect::<Vec<_>>();
            let done = (self.docker)(&line)?;
            text.push_str(&format!("$ docker {}\n", line.join(" ")));
            // Short ids are each daemon's own.
            let is_id = |line: &&str| line.len() == 12 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
            let said = ids.plain(&done.stdout);
            let said: Vec<_> = said
                .lines()
                .map(|line| if is_id(&line) { "(id)" } else { line })
                .collect();
            for line in said {
                text.push_str(&format!("{line}\n"));
            }
            for line in ids.plain(&done.stderr).lines() {
                text.push_str(&format!("! {line}\n"));
            }
            if done.code != 0 {
                text.push_str(&format!("= {}\n", done.code));
            }
        }
        for (method, path) in REQUESTS {
            let answer = self
                .api
                .call(Method::from_bytes(method.as_bytes())?, path, None)?;
            let said = match answer.status.is_success() {
                true => String::new(),
                false => answer.message(),
            };
            text.push_str(&format!(
                "{method} {path} {} {}\n",
                answer.status.as_u16(),
                ids.plain(said.trim())
            ));
        }
        Ok(text)
    }
}

#[test]
fn what_dockerd_says() -> Test {
    let Some((_lab, docker)) = dockerd(&[])? else {
        return Ok(());
    };
    let player = Player {
        docker: &|words| docker.docker(words),
        api: docker.api(),
    };
    assert_golden("texts.txt", &player.play()?)
}

#[test]
fn this_daemon_says_the_same() -> Test {
    let single = Single::start(&[])?;
    let player = Player {
        docker: &|words| single.daemon.docker(words),
        api: single.daemon.api(),
    };
    let ours: Vec<String> = player.play()?.lines().map(without_hint).collect();
    let theirs = golden("texts.txt")?;
    let theirs: Vec<String> = theirs.lines().map(str::to_owned).collect();
    let differences: Vec<String> = (ours
        .iter()
        .filter(|line| !theirs.contains(line))
        .map(|line| format!("+ {line}\n")))
    .chain(
        theirs
            .iter()
            .filter(|line| !ours.contains(line))
            .map(|line| format!("- {line}\n")),
    )
    .collect();
    assert_known("texts-here.txt", &differences.concat())
}

/// What may help is ours alone.
fn without_hint(line: &str) -> String {
    match line.split_once(" (hint: ") {
        Some((said, hint)) => {
            let rest = hint.split_once(')').map_or("", |(_, rest)| rest);
            format!("{said}{rest}")
        }
        None => line.to_owned(),
    }
}
