//! The stage: hosts with daemons, and the store between them.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use netlab::{
    Daemon, DaemonOptions, Finished, Interrupted, Lab, Leftovers, Process, Programs, Store, busybox_archive,
    interrupted,
};

use crate::screen::Screen;

/// How long anything may take to become true.
const PATIENCE: Duration = Duration::from_secs(10);

/// The end of a daemon's log that is shown when something fails.
const LOG_LINES: usize = 20;

/// Hosts, store and lab; dropped in this order.
#[derive(Debug)]
pub(crate) struct Stage {
    hosts: Vec<Daemon>,
    store: Option<Process>,
    lab: Lab,
    programs: Programs,
}

impl Stage {
    /// Makes the lab, starts the store and the daemons, and imports the image on each.
    pub(crate) fn set(store: Store, screen: &Screen) -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        let mut lab = Lab::new()?;
        let archive = busybox_archive(lab.folder())?;
        fs::write(lab.folder().join("busybox.tar"), archive).context("writing busybox.tar")?;
        let (process, url) = Self::start_store(store, &mut lab, screen)?;
        let names: &[&str] = if url.is_some() {
            &["host1", "host2"]
        } else {
            &["host1"]
        };
        let mut stage = Self {
            hosts: Vec::new(),
            store: process,
            lab,
            programs,
        };
        for name in names {
            stage.add_host(name, url.as_deref(), screen)?;
        }
        Ok(stage)
    }

    fn start_store(
        store: Store,
        lab: &mut Lab,
        screen: &Screen,
    ) -> anyhow::Result<(Option<Process>, Option<String>)> {
        if store == Store::Embedded {
            screen.heading("one host, with its own store");
            return Ok((None, None));
        }
        let host = lab.host("store")?;
        let process = store.start(&host)?;
        let url = store.url(&host);
        screen.heading(&format!(
            "two hosts on a segment of their own, and {} between them",
            url.as_deref().unwrap_or_default()
        ));
        Ok((process, url))
    }

    fn add_host(&mut self, name: &str, url: Option<&str>, screen: &Screen) -> anyhow::Result<()> {
        let host = self.lab.host(name)?;
        let advertised = format!("{}:2376", host.address());
        let typed = match url {
            Some(url) => vec!["cnmd", "--cluster-store", url, "--cluster-advertise", &advertised],
            None => vec!["cnmd"],
        };
        screen.prompt(name, &typed);
        let options = DaemonOptions {
            cluster_store: url.map(str::to_owned),
            flags: Vec::new(),
        };
        self.hosts.push(Daemon::start(&host, &self.programs, options)?);
        let import = ["cnm", "image", "import", "busybox.tar", "busybox"];
        self.type_at(self.hosts.len(), &import, screen)?.ok().map(drop)
    }

    /// How many hosts there are.
    pub(crate) fn hosts(&self) -> usize {
        self.hosts.len()
    }

    fn daemon(&self, number: usize) -> &Daemon {
        &self.hosts[number - 1]
    }

    /// Runs what a user would type at a host (the first is 1), unseen.
    fn run(&self, number: usize, words: &[&str]) -> anyhow::Result<Finished> {
        let daemon = self.daemon(number);
        let (program, arguments) = words.split_first().context("a command has a first word")?;
        let mut command = daemon.client_command(self.programs.ours("cnm"));
        // The program goes by both names.
        command
            .arg0(program)
            .args(arguments)
            .current_dir(self.lab.folder());
        daemon.host().run_command(command, &[])
    }

    /// Shows a command at a host's prompt, runs it, and shows what it prints.
    pub(crate) fn type_at(&self, number: usize, words: &[&str], screen: &Screen) -> anyhow::Result<Finished> {
        screen.prompt(self.daemon(number).host().name(), words);
        let finished = self.run(number, words)?;
        screen.output(&finished);
        Ok(finished)
    }

    /// The same, repeated unseen until what it prints is as wanted: hosts tell each other in their own time. Answers
    /// what was wanted and how long it took.
    pub(crate) fn type_until<T>(
        &self,
        number: usize,
        words: &[&str],
        screen: &Screen,
        wanted: impl Fn(&Finished) -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, Duration)> {
        screen.prompt(self.daemon(number).host().name(), words);
        let started = Instant::now();
        loop {
            let finished = self.run(number, words)?;
            let met = wanted(&finished);
            if interrupted() {
                bail!(Interrupted);
            }
            if met.is_ok() || started.elapsed() > PATIENCE {
                screen.output(&finished);
                return Ok((met?, started.elapsed()));
            }
        }
    }

    /// The ends of the daemons' logs, for whoever has to find out why.
    pub(crate) fn show_logs(&self, screen: &Screen) {
        for daemon in &self.hosts {
            let log = daemon.log();
            let lines: Vec<_> = log.lines().collect();
            screen.heading(&format!("the end of cnmd's log on {}", daemon.host().name()));
            lines
                .iter()
                .skip(lines.len().saturating_sub(LOG_LINES))
                .for_each(|line| screen.say(line));
        }
    }

    /// Leaves everything up and says how to go on.
    pub(crate) fn keep(self, screen: &Screen) -> anyhow::Result<()> {
        let Self {
            hosts,
            store,
            lab,
            programs,
        } = self;
        let cnm = programs.ours("cnm");
        screen.heading("everything is left up: play with it");
        for daemon in &hosts {
            let netns = daemon
                .host()
                .netns()
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            screen.say(&format!(
                "{0}: export CNM_HOST={1} DOCKER_HOST={1}",
                daemon.host().name(),
                daemon.url()
            ));
            screen.say(&format!(
                "       {} ps; {0} net ls; {0} exec -it NAME sh",
                cnm.display()
            ));
            screen.say(&format!("       ip netns exec {netns} ip addr"));
        }
        screen.say(&format!("take it down with: {} demo --down", cnm.display()));
        lab.keep()?;
        // They go on without us.
        std::mem::forget((hosts, store));
        Ok(())
    }

    /// Takes everything down. An error names what is left of ours.
    pub(crate) fn strike(self, before: &Leftovers) -> anyhow::Result<()> {
        let (prefix, folder) = (self.lab.netns(""), self.lab.folder().to_owned());
        drop(self);
        let left = Leftovers::now().since(before);
        let ours: Vec<_> = left
            .into_iter()
            .filter(|item| is_ours(item, &prefix, &folder.to_string_lossy()))
            .collect();
        ensure!(ours.is_empty(), "left behind: {}", ours.join(", "));
        ensure!(!folder.exists(), "left behind: {}", folder.display());
        Ok(())
    }
}

/// Whether something that is new on the machine comes from this demo: others may be at work meanwhile. The lab's
/// hosts have namespaces of their own, so our kinds of links and tables have no place in the machine's.
fn is_ours(item: &str, prefix: &str, folder: &str) -> bool {
    let (kind, name) = item.split_once(' ').unwrap_or((item, ""));
    let of_a_process = || {
        let pid = name.rsplit(' ').next().unwrap_or_default();
        let called = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&called).contains(folder)
    };
    let named = name.contains(prefix) || name.contains(folder);
    match kind {
        "link" => ["cnm", "vx-", "br-", "veth"]
            .iter()
            .any(|start| name.starts_with(start)),
        "rule" => name.contains("cnm"),
        "process" => of_a_process(),
        _ => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_did_meanwhile_is_not_ours() {
        let rows = [
            ("namespace cnmlab-7-0-host1", true),
            ("namespace cnmlab-8-0-host1", false),
            ("mount /tmp/cnmlab-x/host1/run/netns/ab", true),
            ("mount /mnt/stick", false),
            ("link br-0123456789ab", true),
            ("link usb0", false),
            ("rule table inet cnm_ports {", true),
            ("rule table ip other {", false),
            ("cgroup memory/cnmlab-7-0-host1", true),
            ("process cnmd 999999999", false),
        ];
        for (item, ours) in rows {
            assert_eq!(is_ours(item, "cnmlab-7-0-", "/tmp/cnmlab-x"), ours, "{item}");
        }
    }
}
