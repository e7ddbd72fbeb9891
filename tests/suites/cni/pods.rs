//! Containers as a CNI runtime has them: a namespace each, and calls of the plugin as the specification gives them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use netlab::{Finished, Programs, Single, wait_for};
use serde_json::{Value, json};

pub(crate) type Test = anyhow::Result<()>;

/// What takes a moment is there within so long.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A host with a daemon, and namespaces of a runtime's.
pub(crate) struct Pods {
    pub(crate) single: Single,
}

/// A call of the plugin.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) command: &'static str,
    pub(crate) container: String,
    pub(crate) netns: String,
    pub(crate) interface: String,
    pub(crate) arguments: String,
    pub(crate) stdin: String,
}

/// What the plugin said.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) json: Value,
}

impl Pods {
    /// With the network `lan`, 10.77.0.0/24.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let single = Single::start(&[])?;
        single.daemon.ok("network create --subnet 10.77.0.0/24 lan")?;
        Ok(Self { single })
    }

    /// Makes a container's namespace. The lab takes it down.
    pub(crate) fn namespace(&self, name: &str) -> anyhow::Result<PathBuf> {
        let name = self.single.lab.netns(name);
        self.run("ip", &["netns", "add", &name])?;
        Ok(Path::new("/run/netns").join(name))
    }

    /// Ends it, as a runtime does that asks nobody.
    pub(crate) fn end(&self, netns: &Path) -> Test {
        let name = netns
            .file_name()
            .and_then(|name| name.to_str())
            .context("a name")?;
        self.run("ip", &["netns", "delete", name]).map(drop)
    }

    /// The configuration `podnet` on the network `lan`.
    pub(crate) fn config(&self, version: &str) -> Value {
        json!({
            "cniVersion": version, "name": "podnet", "type": "cnm-cni", "network": "lan",
            "socket": self.single.daemon.socket(),
        })
    }

    /// A call for a container that is called as its namespace.
    pub(crate) fn call(&self, command: &'static str, netns: &Path, config: &Value) -> Call {
        let name = netns
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Call {
            command,
            container: name.clone(),
            netns: netns.display().to_string(),
            interface: "eth0".to_owned(),
            arguments: format!("IgnoreUnknown=1;K8S_POD_NAME={}", pod(&name)),
            stdin: config.to_string(),
        }
    }

    /// Makes it.
    pub(crate) fn said(&self, call: &Call) -> anyhow::Result<Said> {
        let mut command = Command::new(Programs::find()?.ours("cnm-cni"));
        command.env("CNI_COMMAND", call.command);
        for (name, value) in [
            ("CNI_CONTAINERID", &call.container),
            ("CNI_NETNS", &call.netns),
            ("CNI_IFNAME", &call.interface),
            ("CNI_ARGS", &call.arguments),
        ] {
            if !value.is_empty() {
                command.env(name, value);
            }
        }
        let host = self.single.daemon.host();
        let finished = host.run_command(command, call.stdin.as_bytes())?;
        let json = match finished.stdout.is_empty() {
            true => Value::Null,
            false => {
                serde_json::from_str(&finished.stdout).with_context(|| format!("{call:?}: {finished:?}"))?
            }
        };
        Ok(Said {
            code: finished.code,
            json,
        })
    }

    /// Makes a call that must succeed.
    pub(crate) fn ok(&self, call: &Call) -> anyhow::Result<Value> {
        let said = self.said(call)?;
        ensure!(said.code == 0, "{call:?}: {said:?}");
        Ok(said.json)
    }

    /// Makes a call that must fail: the error's code and its message.
    pub(crate) fn refused(&self, call: &Call) -> anyhow::Result<(u64, String)> {
        let said = self.said(call)?;
        ensure!(said.code != 0, "{call:?}: {said:?}");
        let code = said.json["code"].as_u64().with_context(|| format!("{said:?}"))?;
        ensure!(said.json["cniVersion"].is_string(), "{said:?}");
        Ok((code, said.json["msg"].as_str().unwrap_or_default().to_owned()))
    }

    /// ADD with a configuration of a version.
    pub(crate) fn add(&self, netns: &Path, version: &str) -> anyhow::Result<Value> {
        self.ok(&self.call("ADD", netns, &self.config(version)))
    }

    /// DEL with the same.
    pub(crate) fn del(&self, netns: &Path, version: &str) -> Test {
        self.ok(&self.call("DEL", netns, &self.config(version))).map(drop)
    }

    /// Runs a command on the host, which must succeed.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        self.single.daemon.host().run(program, arguments)?.ok()
    }

    /// Runs a line in a namespace, however it ends.
    pub(crate) fn inside(&self, netns: &Path, line: &str) -> anyhow::Result<Finished> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", netns.display()));
        command.args(line.split(' '));
        self.single.daemon.host().run_command(command, &[])
    }

    /// The same, which must succeed.
    pub(crate) fn inside_ok(&self, netns: &Path, line: &str) -> anyhow::Result<String> {
        self.inside(netns, line)?.ok()
    }

    /// One reaches an address, after a moment.
    pub(crate) fn pings(&self, netns: &Path, address: &str) -> Test {
        let line = format!("ping -c1 -W2 {address}");
        wait_for(&line, SOON, || self.inside_ok(netns, &line)).map(drop)
    }

    /// What a name leads to, asked as a container does whose resolv.conf is the result's `dns`.
    pub(crate) fn looks_up(&self, netns: &Path, name: &str) -> anyhow::Result<String> {
        let busybox = Programs::peer("busybox")?;
        let line = format!("{} nslookup -type=a {name} 127.0.0.11", busybox.display());
        self.inside_ok(netns, &line)
    }

    /// Sandboxes that the daemon knows.
    pub(crate) fn sandboxes(&self) -> anyhow::Result<Vec<Value>> {
        let all = self.single.daemon.api().get("/sandboxes")?;
        Ok(all.as_array().cloned().unwrap_or_default())
    }

    /// Nobody is left: no sandbox, no endpoint, no end of an interface on the host.
    pub(crate) fn nobody_is_left(&self) -> Test {
        let left = self.sandboxes()?;
        ensure!(left.is_empty(), "{left:#?}");
        let network = self.single.daemon.api().get("/networks/lan")?;
        ensure!(network["Containers"] == json!({}), "{network:#}");
        let links = self.run("ip", &["-o", "link", "show", "type", "veth"])?;
        let ours = links.lines().filter(|line| line.contains(": veth")).count();
        ensure!(ours == 0, "{links}");
        Ok(())
    }

    /// The same, after a moment.
    pub(crate) fn nobody_is_left_soon(&self) -> Test {
        wait_for("everybody to be gone", SOON, || self.nobody_is_left())
    }
}

/// What a pod is called by the last part of its container's name.
pub(crate) fn pod(container: &str) -> &str {
    container.rsplit('-').next().unwrap_or(container)
}

/// The first address of a result.
pub(crate) fn address(result: &Value) -> anyhow::Result<String> {
    let with_length = result["ips"][0]["address"]
        .as_str()
        .with_context(|| format!("{result}"))?;
    Ok(with_length.split('/').next().unwrap_or_default().to_owned())
}
