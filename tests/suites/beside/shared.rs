//! A host that two share, and what each one's containers do there.

use std::{
    env,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use netlab::{Backend, Daemon, DaemonOptions, Dockerd, Finished, Host, Lab, Programs, wait_for};

pub(crate) type Test = anyhow::Result<()>;

/// What was wiped is back, and traffic goes on, within so long.
const SOON: Duration = Duration::from_secs(5);

/// A host with a neighbour's packages; our daemon comes when a test wants it. Fields are dropped in order.
pub(crate) struct Shared {
    ours: Option<Daemon>,
    pub(crate) host: Host,
    lab: Lab,
    backend: Backend,
    /// ufw forwards everybody's pings.
    pings: bool,
}

impl Shared {
    pub(crate) fn new(packages: &[&str], backend: Backend) -> anyhow::Result<Self> {
        let mut lab = Lab::new()?;
        let host = lab.host("a")?.with_packages(packages)?;
        Ok(Self {
            ours: None,
            host,
            lab,
            backend,
            pings: packages.contains(&"ufw"),
        })
    }

    /// Starts our daemon.
    pub(crate) fn start_ours(&mut self) -> Test {
        let flags = ["--firewall-backend", self.backend.as_str()].map(str::to_owned);
        let options = DaemonOptions {
            cluster_store: None,
            flags: flags.to_vec(),
        };
        let daemon = Daemon::start(&self.host, &Programs::find()?, options)?;
        daemon.import_busybox()?;
        self.ours = Some(daemon);
        Ok(())
    }

    /// Stops and starts our daemon, then kills and starts it.
    pub(crate) fn restart_ours(&mut self) -> Test {
        let daemon = self.ours.as_mut().context("our daemon wasn't started")?;
        daemon.stop()?;
        daemon.start_again()?;
        daemon.kill()?;
        daemon.start_again()
    }

    pub(crate) fn ours(&self) -> &Daemon {
        self.ours.as_ref().expect("it was started")
    }

    /// Makes `iptables` the legacy one for everybody on this host.
    pub(crate) fn use_legacy_iptables(&self) -> Test {
        for family in ["iptables", "ip6tables"] {
            for program in ["", "-save", "-restore"] {
                self.run(&format!(
                    "ln -sf xtables-legacy-multi /usr/sbin/{family}{program}"
                ))?;
            }
        }
        Ok(())
    }

    /// Runs a line on the host, which must succeed.
    pub(crate) fn run(&self, line: &str) -> anyhow::Result<String> {
        let words: Vec<_> = line.split(' ').collect();
        self.host.run(words[0], &words[1..])?.ok()
    }

    /// Every rule that isn't ours, from every program's tables.
    pub(crate) fn others(&self) -> anyhow::Result<String> {
        let mut all = String::new();
        for family in ["iptables", "ip6tables"] {
            for kind in ["nft", "legacy"] {
                let saved = self.run(&format!("{family}-{kind}-save"))?;
                all += &foreign_rules(&saved, &format!("{family}-{kind}"));
            }
        }
        all += &foreign_tables(&self.run("nft -s list ruleset")?);
        Ok(all)
    }

    /// Nobody else's rule is other than it was. What a program is about to bring back is waited for.
    pub(crate) fn untouched(&self, before: &str) -> Test {
        wait_for("other people's rules", SOON, || {
            let now = self.others()?;
            ensure!(now == before, "before:\n{before}\nnow:\n{now}");
            Ok(())
        })
    }

    /// The same after a start of dockerd, which makes its networks' rules in any order.
    pub(crate) fn untouched_in_any_order(&self, before: &str) -> Test {
        let sorted = |rules: &str| {
            let mut lines: Vec<_> = rules.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        wait_for("other people's rules", SOON, || {
            let now = self.others()?;
            ensure!(sorted(&now) == sorted(before), "before:\n{before}\nnow:\n{now}");
            Ok(())
        })
    }

    /// Wipes rules, of us and of others, and waits until a published port of ours answers again.
    pub(crate) fn flush(&self, line: &str) -> Test {
        self.run(line)?;
        let began = Instant::now();
        self.answers(8080, "ours")?;
        eprintln!("{line:?}: back after {:?}", began.elapsed());
        Ok(())
    }

    /// Hands nft(8) a script.
    pub(crate) fn nft(&self, script: &str) -> Test {
        self.host.run("nft", &[script])?.ok().map(drop)
    }

    /// Of what `docker info` warns of, who may drop packets of containers.
    pub(crate) fn warnings(&self) -> anyhow::Result<String> {
        let info = self.ours().api().get("/info")?;
        let lines = info["Warnings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|line| line.as_str());
        let told = lines.filter(|line| line.contains("may drop"));
        Ok(told.collect::<Vec<_>>().join("\n"))
    }

    /// Waits for a warning that somebody may drop packets of containers.
    pub(crate) fn warning(&self) -> anyhow::Result<String> {
        wait_for("a warning", SOON, || {
            let warnings = self.warnings()?;
            ensure!(!warnings.is_empty(), "nothing is warned of");
            Ok(warnings)
        })
    }

    /// Waits until nothing is.
    pub(crate) fn no_warning(&self) -> Test {
        wait_for("no warning", SOON, || {
            let warnings = self.warnings()?;
            ensure!(warnings.is_empty(), "{warnings}");
            Ok(())
        })
    }

    /// From outside a published port of this host answers so, before long.
    fn answers(&self, port: u16, expected: &str) -> Test {
        let url = format!("http://{}:{port}/", self.host.address());
        let said = self.lab.outside_host().fetch_within(SOON, &url)?;
        ensure!(said == expected, "port {port} says {said:?}, not {expected:?}");
        Ok(())
    }

    /// Tries all of them at once, and says which answer.
    fn reach(&self, addresses: &[&str]) -> String {
        let one = |address: &&str| {
            let web = format!(
                "(wget -q -O /dev/null -T 1 http://{address}/ 2>/dev/null && echo {address} serves) & "
            );
            let ping = format!("(ping -c1 -W1 {address} >/dev/null && echo {address} answers) & ");
            if self.pings { web } else { web + &ping }
        };
        addresses.iter().map(one).collect::<String>() + "wait"
    }

    /// What there is to see when something does not work.
    fn state(&self) -> String {
        let rules = self.run("nft -s list ruleset").unwrap_or_default();
        let legacy = self.run("iptables-legacy-save").unwrap_or_default();
        let log = self.ours().log();
        let from = log.len().saturating_sub(3000);
        let log = log.get(from..).unwrap_or_default();
        format!("rules:\n{rules}\n{legacy}\nour daemon said:\n{log}")
    }
}

/// Whether `tests/packages.sh` brought a package.
pub(crate) fn is_brought(name: &str) -> bool {
    let cache = env::var_os("CNM_TEST_CACHE");
    let cache = cache.map_or_else(|| PathBuf::from("/var/cache/cnm-tests"), PathBuf::from);
    cache.join(name).is_dir()
}

/// Of what `iptables-save` says, what isn't ours, without counters. A table where nobody has rules says nothing.
fn foreign_rules(saved: &str, program: &str) -> String {
    let mut foreign = String::new();
    for table in saved.split("\n*").skip(1) {
        let (name, rest) = table.split_once('\n').unwrap_or((table, ""));
        let theirs = |line: &&str| !line.starts_with('#') && !line.to_lowercase().contains("cnm");
        let lines = rest.lines().filter(theirs);
        let mut lines: Vec<_> = lines
            .map(|line| line.split(" [").next().unwrap_or(line))
            .collect();
        lines.retain(|line| *line != "COMMIT");
        if lines
            .iter()
            .any(|line| !line.ends_with(" ACCEPT") || line.starts_with("-A"))
        {
            foreign += &format!("# {program} {name}\n{}\n", lines.join("\n"));
        }
    }
    foreign
}

/// Of what `nft list ruleset` says, the tables that are neither ours nor of iptables.
fn foreign_tables(listed: &str) -> String {
    let iptables = ["filter", "nat", "raw", "mangle", "security"];
    let mut foreign = String::new();
    let mut theirs = false;
    for line in listed.lines() {
        if let Some(table) = line.strip_prefix("table ") {
            let name = table.split(' ').nth(1).unwrap_or_default();
            theirs = !name.contains("cnm") && !iptables.contains(&name);
        }
        if theirs && !line.starts_with('#') {
            foreign += &format!("{line}\n");
        }
    }
    foreign
}

pub(crate) fn on_each_backend(test: impl Fn(Backend) -> Test) -> Test {
    for backend in Backend::ALL {
        test(backend).with_context(|| format!("with the firewall backend {}", backend.as_str()))?;
    }
    Ok(())
}

/// Two containers on a network of ours, one with a published port.
pub(crate) fn run_ours(shared: &Shared) -> Test {
    let ours = shared.ours();
    ours.ok("network create lan")?;
    ours.web("ours", "--network lan -p 8080:80")?;
    ours.web("near", "--network lan")?;
    Ok(())
}

/// The same of a dockerd. It gives addresses anew with each start, so these are asked for.
pub(crate) fn run_theirs(docker: &Dockerd) -> Test {
    docker.ok("network create --subnet 172.30.0.0/24 inner")?;
    docker.web("theirs", "--network inner --ip 172.30.0.10 -p 9090:80")?;
    docker.web("beside", "--network inner --ip 172.30.0.11")
}

/// What our containers do on any host.
pub(crate) fn our_own_work(shared: &Shared) -> Test {
    let ours = shared.ours();
    let work = || {
        shared.answers(8080, "ours")?;
        ours.eventually("exec ours ping -c1 -W2 203.0.113.1")?;
        ours.eventually("exec near wget -q -O - -T 2 http://ours/")?;
        let own = shared.host.address();
        ours.eventually(&format!("exec near wget -q -O - -T 2 http://{own}:8080/"))
    };
    work().with_context(|| shared.state()).map(drop)
}

/// What each one's containers do on a host of two engines.
pub(crate) fn both_work(shared: &Shared, docker: &Dockerd) -> Test {
    our_own_work(shared)?;
    each_by_itself(shared, docker).with_context(|| shared.state())
}

fn each_by_itself(shared: &Shared, docker: &Dockerd) -> Test {
    let ours = shared.ours();
    shared.answers(9090, "theirs")?;
    docker.eventually("exec theirs ping -c1 -W2 203.0.113.1")?;
    docker.eventually("exec beside wget -q -O - -T 2 http://theirs/")?;
    // Each one's published port is open to the other's containers, as to anybody.
    let own = shared.host.address();
    ours.eventually(&format!("exec near wget -q -O - -T 2 http://{own}:9090/"))?;
    docker.eventually(&format!("exec beside wget -q -O - -T 2 http://{own}:8080/"))?;
    // What isn't published stays closed.
    let theirs = "172.30.0.11";
    let [first, second] = ["ours", "near"].map(|name| ours.address_of(name, "lan"));
    let (to_theirs, to_ours) = (shared.reach(&[theirs]), shared.reach(&[&first?, &second?]));
    let said = thread::scope(|scope| {
        let from_theirs = scope.spawn(|| docker.docker(&["exec", "beside", "sh", "-c", &to_ours]));
        let from_ours = ours.docker(&["exec", "near", "sh", "-c", &to_theirs]);
        [Some(from_ours), from_theirs.join().ok()].map(|said| said.context("a panic")?.and_then(Finished::ok))
    });
    let said = said.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(
        said.iter().all(String::is_empty),
        "one reaches the other's containers: {said:?}"
    );
    Ok(())
}
