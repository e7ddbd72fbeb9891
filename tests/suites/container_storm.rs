//! Five hundred random operations on thirty containers while the daemon is killed fifty times: at the end kernel, disk and
//! records say the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use http::Method;
use netlab::{Api, Daemon, Single, wait_for};
use serde_json::{Value, json};

type Test = anyhow::Result<()>;

const CONTAINERS: u64 = 30;
const OPERATIONS: u64 = 500;
const KILLS: u64 = 50;
const THREADS: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// A small generator of our own: the seed tells the whole run again.
#[derive(Debug, Clone)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// One operation. However it ends, also in the middle: the daemon may be killed at any moment, and another thread may
/// have been quicker.
///
/// The answer's status and what it says; nothing when nobody answered.
fn operate(api: &Api, dice: &mut Dice) -> Option<(u16, String)> {
    let name = format!("c{}", dice.below(CONTAINERS));
    let at = |rest: &str| format!("/containers/{name}{rest}");
    let answer = match dice.below(12) {
        0..=2 => {
            let network = ["none", "bridge", "storm"][usize::try_from(dice.below(3)).unwrap_or_default()];
            let policy = ["no", "always", "on-failure"][usize::try_from(dice.below(3)).unwrap_or_default()];
            let command = ["sleep 600", "true", "exit 3"][usize::try_from(dice.below(3)).unwrap_or_default()];
            let body = json!({
                "Image": "busybox", "Cmd": ["sh", "-c", command], "StopTimeout": 0,
                "HostConfig": {"NetworkMode": network, "RestartPolicy": {"Name": policy}}
            });
            api.call(
                Method::POST,
                &format!("/containers/create?name={name}"),
                Some(&body),
            )
        }
        3..=5 => api.call(Method::POST, &at("/start"), None),
        6 => api.call(Method::POST, &at("/stop?t=0"), None),
        7 => api.call(Method::POST, &at("/restart?t=0"), None),
        8 => api.call(Method::POST, &at("/kill"), None),
        9 => api.call(
            Method::POST,
            &at(if dice.below(2) == 0 { "/pause" } else { "/unpause" }),
            None,
        ),
        10 => api.call(Method::DELETE, &at("?force=1&v=1"), None),
        _ => api.call(Method::GET, &at("/archive?path=/etc"), None),
    };
    answer
        .ok()
        .map(|answer| (answer.status.as_u16(), answer.message()))
}

/// What all clients together have done.
#[derive(Debug, Default)]
struct Count {
    answered: AtomicU64,
    done: AtomicU64,
    over: AtomicBool,
    /// What the daemon takes for its own failure, by its words.
    failures: Mutex<BTreeMap<String, u64>>,
}

impl Count {
    fn reached(&self, wanted: u64) -> Test {
        let answered = self.answered.load(Ordering::SeqCst);
        anyhow::ensure!(answered >= wanted, "{answered} of {wanted} were");
        Ok(())
    }
}

fn work(api: &Api, mut dice: Dice, count: &Count) {
    while !count.over.load(Ordering::SeqCst) {
        match operate(api, &mut dice) {
            Some((status, message)) => {
                count.answered.fetch_add(1, Ordering::SeqCst);
                count.done.fetch_add(u64::from(status < 300), Ordering::SeqCst);
                if status >= 500 {
                    let mut failures = count.failures.lock().unwrap_or_else(PoisonError::into_inner);
                    *failures.entry(without_ids(&message)).or_default() += 1;
                }
            }
            // The daemon is being started: others need the processor more.
            None => thread::yield_now(),
        }
    }
}

/// The same words for every container.
fn without_ids(message: &str) -> String {
    let words = message.split(|c: char| !c.is_ascii_alphanumeric());
    let ids: BTreeSet<&str> = words.filter(|word| is_id(word)).collect();
    ids.iter()
        .fold(message.to_owned(), |text, id| text.replace(id, "ID"))
}

/// The names in a folder; none when it is not there.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn is_id(name: &str) -> bool {
    name.len() == 64
}

/// What the daemon's own mount table has below its containers.
fn mounted(docker: &Daemon) -> BTreeSet<String> {
    let folder = docker.data_root().join("containers");
    let table = fs::read_to_string(format!("/proc/{}/mountinfo", docker.id().unwrap_or_default()));
    let table = table.unwrap_or_default();
    let places = table.lines().filter_map(|line| line.split(' ').nth(4));
    let inside = places.filter_map(|place| Path::new(place).strip_prefix(&folder).ok());
    inside
        .filter_map(|rest| rest.iter().next()?.to_str().map(str::to_owned))
        .collect()
}

fn cgroups(docker: &Daemon) -> BTreeSet<String> {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let parent = docker.cgroup_parent();
    let parent = parent.trim_start_matches('/');
    let mut all: BTreeSet<String> = names(&Path::new("/sys/fs/cgroup").join(parent));
    for hierarchy in hierarchies {
        all.extend(names(&hierarchy.path().join(parent)));
    }
    all.into_iter().filter(|name| is_id(name)).collect()
}

fn shims(docker: &Daemon) -> BTreeSet<String> {
    let folder = docker.exec_root().display().to_string();
    let of = |entry: fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        if !line.contains("cnm-shim") || !line.contains(&folder) {
            return None;
        }
        line.split(['\0', '/', '.'])
            .find(|word| is_id(word))
            .map(str::to_owned)
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(of)
        .collect()
}

/// Compares; what differs is the error.
fn agree(docker: &Daemon) -> Test {
    let all = docker.api().get("/containers/json?all=1")?;
    let rows: Vec<&Value> = all.as_array().into_iter().flatten().collect();
    let id = |row: &&Value| row["Id"].as_str().unwrap_or_default().to_owned();
    let ids: BTreeSet<String> = rows.iter().map(id).collect();
    let up = |row: &&&Value| matches!(row["State"].as_str(), Some("running" | "paused"));
    let running: BTreeSet<String> = rows.iter().filter(up).map(id).collect();
    let restless = rows
        .iter()
        .filter(|row| matches!(row["State"].as_str(), Some("restarting" | "removing" | "dead")));
    let restless: Vec<_> = restless.map(|row| row["State"].clone()).collect();
    anyhow::ensure!(restless.is_empty(), "{restless:?}");
    let folders = names(&docker.data_root().join("containers"));
    anyhow::ensure!(folders == ids, "folders {folders:?} of containers {ids:?}");
    for (what, found) in [
        ("cgroups", cgroups(docker)),
        ("shims", shims(docker)),
        ("mounts", mounted(docker)),
    ] {
        let more: Vec<_> = found.difference(&running).collect();
        let less: Vec<_> = running.difference(&found).collect();
        anyhow::ensure!(
            more.is_empty() && less.is_empty(),
            "{what}: left over {more:?}, missing {less:?}"
        );
    }
    for id in &running {
        let shown = docker.api().get(&format!("/containers/{id}/json"))?;
        let pid = shown["State"]["Pid"].as_u64().unwrap_or_default();
        anyhow::ensure!(
            Path::new(&format!("/proc/{pid}")).exists(),
            "{id} has no process {pid}"
        );
    }
    let networks = docker.api().get("/networks/storm")?;
    let attached = networks["Containers"].as_object().map_or(0, serde_json::Map::len);
    let wanted = rows
        .iter()
        .filter(up)
        .filter(|row| row["NetworkSettings"]["Networks"]["storm"].is_object());
    let wanted = wanted.count();
    anyhow::ensure!(
        attached == wanted,
        "{attached} endpoints of {wanted} containers on the network"
    );
    Ok(())
}

#[test]
fn whatever_is_done_and_killed_everything_agrees_at_the_end() -> Test {
    let seed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .subsec_nanos();
    let seed = u64::from(seed) | 1;
    let mut host = Single::start(&[])?;
    let docker = &mut host.daemon;
    docker.api().post("/networks/create", &json!({"Name": "storm"}))?;
    let mut dice = Dice(seed);
    let count = Arc::new(Count::default());
    let workers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (api, count, dice) = (docker.api(), Arc::clone(&count), Dice(dice.below(u64::MAX) | 1));
            thread::spawn(move || work(&api, dice, &count))
        })
        .collect();
    for killed in 1..=KILLS {
        // Somewhere in the middle of it all: the moment is the test.
        let moment = killed * OPERATIONS / KILLS - dice.below(5);
        wait_for("operations to be answered", PATIENCE, || count.reached(moment))?;
        docker.kill()?;
        docker.start_again()?;
    }
    wait_for("the last operations", PATIENCE, || count.reached(OPERATIONS))?;
    count.over.store(true, Ordering::SeqCst);
    for worker in workers {
        anyhow::ensure!(worker.join().is_ok(), "a client failed");
    }
    let done = count.done.load(Ordering::SeqCst);
    anyhow::ensure!(
        done > OPERATIONS / 10,
        "only {done} operations were done (seed {seed})"
    );
    let failures = count
        .failures
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    println!("{done} operations were done; failures: {failures:#?}");
    // Whoever asks while a container ends is told so.
    anyhow::ensure!(
        !failures.keys().any(|text| text.contains("shim")),
        "{failures:#?} (seed {seed})"
    );
    // Those that restart for ever never come to rest.
    for row in docker
        .api()
        .get("/containers/json?all=1")?
        .as_array()
        .into_iter()
        .flatten()
    {
        let id = row["Id"].as_str().unwrap_or_default();
        let calm = json!({"RestartPolicy": {"Name": "no"}});
        let _ = docker
            .api()
            .call(Method::POST, &format!("/containers/{id}/update"), Some(&calm));
    }
    wait_for(
        &format!("everything to agree (seed {seed})"),
        Duration::from_secs(60),
        || agree(docker),
    )?;
    for row in docker
        .api()
        .get("/containers/json?all=1")?
        .as_array()
        .into_iter()
        .flatten()
    {
        docker.api().delete(&format!(
            "/containers/{}?force=1",
            row["Id"].as_str().unwrap_or_default()
        ))?;
    }
    wait_for(
        &format!("nothing to be left (seed {seed})"),
        Duration::from_secs(30),
        || agree(docker),
    )?;
    anyhow::ensure!(names(&docker.data_root().join("containers")).is_empty());
    docker.api().delete("/networks/storm")?;
    Ok(())
}
