//! What a container sees and may do.

use runtime::spec::{ContainerConfig, Mount, Namespace, Resources, Ulimit};

use super::lab::{Io, command, script, with_lab};

#[test]
fn a_container_is_apart_from_the_host() {
    with_lab(async |lab| {
        let inside =
            "echo $$; ps | grep -c '[p]s'; hostname; ls /proc | grep -c '^[0-9]*$'; ip -o link | wc -l; pwd";
        let (code, output) = lab
            .run(
                ContainerConfig {
                    working_dir: "/made/here".into(),
                    ..Default::default()
                },
                inside,
            )
            .await;
        let lines: Vec<_> = output.lines().collect();
        assert_eq!(
            (code, lines[0], lines[2], lines[4], lines[5]),
            (0, "1", "box", "1", "/made/here"),
            "{output}"
        );
        assert!(lines[3].parse::<u32>().unwrap() < 10, "{output}");
    });
}

#[test]
fn capabilities_and_system_calls_are_dockers() {
    with_lab(async |lab| {
        let inside = "
            grep CapEff /proc/self/status | tr -d '\\t'
            unshare -m true 2>/dev/null || echo no unshare
            unshare -U true 2>/dev/null || echo no user namespace
            mount -t tmpfs none /tmp 2>/dev/null || echo no mount
            echo 1 2>/dev/null > /proc/sys/kernel/panic || echo no sysctl
            head -c 1 /proc/interrupts | wc -c
            (echo 1 > /sys/x) 2>/dev/null || echo no sysfs
            touch /x && echo writable";
        let (_, output) = lab.run(ContainerConfig::default(), inside).await;
        let expected = "CapEff:00000000a80425fb\nno unshare\nno user namespace\nno mount\nno sysctl\n0\nno sysfs\nwritable\n";
        assert_eq!(output, expected);
    });
}

#[test]
fn more_and_less_can_be_asked_for() {
    with_lab(async |lab| {
        let none = ContainerConfig {
            cap_drop: vec!["ALL".into()],
            readonly_rootfs: true,
            no_new_privileges: true,
            ..Default::default()
        };
        let (_, output) = lab.run(none, "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status | tr -s '\\t\\n' '  '; touch /x 2>/dev/null || echo readonly").await;
        assert_eq!(
            output,
            "CapEff: 0000000000000000 NoNewPrivs: 1 Seccomp: 2 readonly\n"
        );
        let user = ContainerConfig {
            user: "web".into(),
            ..Default::default()
        };
        let (_, output) = lab
            .run(
                user,
                "grep CapEff /proc/self/status | tr -d '\\t'; id -u; echo $HOME; echo x > /dev/stderr",
            )
            .await;
        assert_eq!(output, "CapEff:0000000000000000\n33\n/home/web\nx\n");
        let all = ContainerConfig {
            privileged: true,
            ..Default::default()
        };
        let (_, output) = lab.run(all, "mount -t tmpfs none /tmp && echo mounted; grep Seccomp: /proc/self/status | tr -d '\\t'; ls -d /dev/kmsg").await;
        assert_eq!(output, "mounted\nSeccomp:0\n/dev/kmsg\n");
    });
}

#[test]
fn anybody_may_ping_and_bind_low_ports() {
    with_lab(async |lab| {
        let (_, output) = lab
            .run(
                ContainerConfig { sysctls: [("net.core.somaxconn".to_owned(), "77".to_owned())].into(), ..Default::default() },
                "cat /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/core/somaxconn",
            )
            .await;
        assert_eq!(
            output.split_whitespace().collect::<Vec<_>>(),
            ["0", "2147483647", "0", "77"]
        );
    });
}

#[test]
fn limits_hold() {
    with_lab(async |lab| {
        let resources = Resources {
            pids_limit: Some(5),
            nano_cpus: Some(500_000_000),
            ..Default::default()
        };
        let ulimits = vec![Ulimit {
            name: "nofile".into(),
            soft: 64,
            hard: 128,
        }];
        let config = ContainerConfig {
            resources,
            ulimits,
            shm_size: Some(1 << 20),
            ..Default::default()
        };
        let inside = "ulimit -n; ulimit -Hn; (for i in 1 2 3 4 5 6 7 8; do sleep 2 & done) 2>/dev/null || echo no fork; dd if=/dev/zero of=/dev/shm/x bs=1M count=2 2>/dev/null || echo full";
        let (_, output) = lab.run(config, inside).await;
        assert_eq!(output, "64\n128\nno fork\nfull\n");
    });
}

#[test]
fn files_of_the_host_are_bound_and_memory_mounted() {
    with_lab(async |lab| {
        let hosts = lab.path().join("hosts");
        std::fs::write(&hosts, "127.0.0.1 here\n").unwrap();
        let bind = |readonly, destination: &str| Mount::Bind {
            source: hosts.clone(),
            destination: destination.into(),
            readonly,
            propagation: String::new(),
            below: runtime::spec::Below::Alike,
            ours: false,
        };
        let tmpfs = Mount::Tmpfs {
            destination: "/made/tmp".into(),
            options: vec!["size=1m".into()],
        };
        let mounts = vec![bind(false, "/etc/hosts"), bind(true, "/etc/other"), tmpfs];
        let inside = "cat /etc/hosts; echo more >> /etc/hosts; (echo x >> /etc/other) 2>/dev/null || echo readonly; grep -c '/made/tmp tmpfs' /proc/mounts";
        let config = ContainerConfig { mounts, ..script("") };
        let (_, output) = lab.run(config, inside).await;
        assert_eq!(output, "127.0.0.1 here\nreadonly\n1\n");
        assert_eq!(std::fs::read_to_string(&hosts).unwrap(), "127.0.0.1 here\nmore\n");
    });
}

#[test]
fn namespaces_are_joined_by_their_path() {
    with_lab(async |lab| {
        let first = lab.open(command("sleep 1000"), Io::default()).await;
        let pid = first.start().await;
        let of = |name: &str| Namespace::Path(format!("/proc/{pid}/ns/{name}").into());
        let config = ContainerConfig {
            network: of("net"),
            ipc: of("ipc"),
            pid: of("pid"),
            ..Default::default()
        };
        let (_, output) = lab
            .run(
                config,
                "ls -l /proc/self/ns /proc/1/ns | grep -oE ' (net|ipc|pid|mnt) .*'",
            )
            .await;
        let count = |name: &str| {
            let of: std::collections::BTreeSet<_> =
                output.lines().filter(|line| line.contains(name)).collect();
            of.len()
        };
        assert_eq!(["net", "ipc", "pid ", "mnt"].map(count), [1, 1, 1, 2], "{output}");
        first.end().await;
    });
}
