//! A plugin that nobody here wrote, as Debian ships it: OVN's driver for Docker, with Open vSwitch in user space below it.

use std::{process::Command, time::Duration};

use netlab::{Daemon, DaemonOptions, Host, Lab, Process, Programs, wait_for};

use crate::Test;

/// It was written for a Python whose helper programs speak text; Debian's gives bytes. The driver's own file is untouched.
const TEXT: &str =
    "import functools, subprocess\nsubprocess.Popen = functools.partial(subprocess.Popen, text=True)\n";
const SWITCH: &str = "unix:/run/openvswitch/db.sock";
const NORTH: &str = "unix:/run/ovn/ovnnb_db.sock";
const SOUTH: &str = "unix:/run/ovn/ovnsb_db.sock";

/// OVN's parts on one host.
struct Ovn {
    host: Host,
    _processes: Vec<Process>,
}

impl Ovn {
    fn start(host: &Host) -> anyhow::Result<Self> {
        host.run("mkdir", &["-p", "/run/openvswitch", "/run/ovn"])?.ok()?;
        let mut processes = Vec::new();
        let schemas = "/usr/share";
        for (name, schema, socket) in [
            ("switch", "openvswitch/vswitch.ovsschema", SWITCH),
            ("north", "ovn/ovn-nb.ovsschema", NORTH),
            ("south", "ovn/ovn-sb.ovsschema", SOUTH),
        ] {
            let file = host.folder().join(format!("{name}.db")).display().to_string();
            host.run("ovsdb-tool", &["create", &file, &format!("{schemas}/{schema}")])?
                .ok()?;
            let remote = format!("--remote=p{socket}");
            let control = format!("--unixctl=/run/{name}.ctl");
            processes.push(start(host, name, "ovsdb-server", &[&file, &remote, &control])?);
        }
        let ovn = Self {
            host: host.clone(),
            _processes: processes,
        };
        ovn.set_up()
    }

    fn set_up(mut self) -> anyhow::Result<Self> {
        let host = self.host.clone();
        wait_for("the databases", Duration::from_secs(30), || {
            host.run("ovs-vsctl", &["--timeout=5", "--no-wait", "init"])?.ok()
        })?;
        let user_space = "/usr/lib/openvswitch-switch/ovs-vswitchd";
        let arguments = [
            SWITCH,
            "--pidfile=/run/openvswitch/ovs-vswitchd.pid",
            "--unixctl=/run/vswitchd.ctl",
        ];
        self._processes
            .push(start(&host, "vswitchd", user_space, &arguments)?);
        let here = format!("external-ids:ovn-encap-ip={}", host.address());
        let remote = format!("external-ids:ovn-remote={SOUTH}");
        let north = format!("external-ids:ovn-nb={NORTH}");
        let settings = [
            "--timeout=20",
            "set",
            "Open_vSwitch",
            ".",
            "external-ids:system-id=a",
            "external-ids:ovn-encap-type=geneve",
            "external-ids:ovn-bridge-datapath-type=netdev",
            &here,
            &remote,
            &north,
        ];
        host.run("ovs-vsctl", &settings)?.ok()?;
        let bridge = "--timeout=20 --may-exist add-br br-int -- set bridge br-int datapath_type=netdev fail-mode=secure";
        host.run("ovs-vsctl", &bridge.split(' ').collect::<Vec<_>>())?
            .ok()?;
        let databases = [format!("--ovnnb-db={NORTH}"), format!("--ovnsb-db={SOUTH}")];
        let arguments = [&databases[0], &databases[1], "--unixctl=/run/northd.ctl"];
        self._processes
            .push(start(&host, "northd", "ovn-northd", &arguments)?);
        let db = format!("--db={NORTH}");
        host.run("ovn-nbctl", &[&db, "--wait=sb", "--timeout=20", "sync"])?
            .ok()?;
        self._processes
            .push(start(&host, "controller", "ovn-controller", &[SWITCH])?);
        Ok(self)
    }

    /// The driver, once it can be found.
    fn driver(&mut self) -> Test {
        let folder = self.host.folder().join("python");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("sitecustomize.py"), TEXT)?;
        let mut command = Command::new("/usr/bin/python3");
        command
            .env("PYTHONPATH", &folder)
            .arg("/usr/bin/ovn-docker-overlay-driver");
        self._processes.push(self.host.start("driver", command)?);
        wait_for("the driver's specification", Duration::from_secs(30), || {
            self.host
                .run("test", &["-s", "/etc/docker/plugins/openvswitch.spec"])?
                .ok()
        })?;
        Ok(())
    }

    fn ports(&self) -> anyhow::Result<usize> {
        let db = format!("--db={NORTH}");
        let shown = self.host.run("ovn-nbctl", &[&db, "--timeout=20", "show"])?.ok()?;
        Ok(shown
            .lines()
            .filter(|line| line.trim().starts_with("port "))
            .count())
    }
}

fn start(host: &Host, name: &str, program: &str, arguments: &[&str]) -> anyhow::Result<Process> {
    let mut command = Command::new(program);
    command.args(arguments);
    host.start(name, command)
}

#[test]
fn ovns_driver_runs_unchanged() -> Test {
    let mut lab = Lab::new()?;
    let host = lab.host("a")?.with_packages(&["ovn"])?;
    let mut ovn = Ovn::start(&host)?;
    let options = DaemonOptions {
        cluster_store: None,
        flags: Vec::new(),
    };
    let docker = Daemon::start(&host, &Programs::find()?, options)?;
    docker.import_busybox()?;
    ovn.driver()?;
    docker.ok("network create -d openvswitch --subnet 10.9.0.0/24 lan")?;
    docker.ok("run -d --name one --network lan busybox sleep 600")?;
    docker.ok("run -d --name two --network lan busybox sleep 600")?;
    assert_eq!(ovn.ports()?, 2);
    // OVN's controller answers ARP and forwards once it has written its flows.
    wait_for("a ping by name", Duration::from_secs(30), || {
        docker.ok("exec one ping -c1 -W2 two")
    })?;
    let mac = docker.ok("inspect -f {{.NetworkSettings.Networks.lan.MacAddress}} one")?;
    assert!(
        docker.ok("exec one ip link show dev eth0")?.contains(mac.trim()),
        "{mac}"
    );
    docker.ok("network disconnect lan two")?;
    assert_eq!(ovn.ports()?, 1);
    docker.ok("network connect --ip 10.9.0.77 lan two")?;
    wait_for("a ping by address", Duration::from_secs(30), || {
        docker.ok("exec one ping -c1 -W2 10.9.0.77")
    })?;
    docker.ok("rm -f one two")?;
    assert_eq!(ovn.ports()?, 0);
    docker.ok("network rm lan")?;
    let links = host.run("ip", &["-o", "link"])?.ok()?;
    assert!(!links.contains("_c"), "{links}");
    Ok(())
}
