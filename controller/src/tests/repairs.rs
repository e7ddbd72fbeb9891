//! Others take away what is ours, on the real kernel: it is back, and what still worked goes on.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use kernel::{Linux, netns};
use model::{NodeId, Sandbox};
use store::{Stores, memory::Memory};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{
    host::create,
    linux::{in_namespaces_of_its_own, inside, run, sandbox, start_on},
};
use crate::{Connect, Controller};

/// So long it may take on a slow machine; less than the timer's minute, and how long it waits is a table of its own.
const PROMISED: Duration = Duration::from_secs(20);

/// A network of two containers with a connection between them, and one from the host to the first.
struct Scene {
    folder: TempDir,
    controller: Arc<Controller>,
    one: Arc<Sandbox>,
    two: Arc<Sandbox>,
    bridge: String,
}

impl Scene {
    async fn new() -> Self {
        Self::on(Linux::here().unwrap()).await
    }

    async fn on(linux: Linux) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("host-resolv.conf"), "nameserver 192.0.2.53\n").unwrap();
        let controller = start_on(linux, folder.path(), &Stores::alone(Arc::new(Memory::new()))).await;
        let request = create("lab", "bridge", Some("10.1.0.0/24"));
        let network = controller.networks.create(request).await.unwrap().id;
        let one = sandbox(&controller, folder.path(), "one").await;
        let two = sandbox(&controller, folder.path(), "two").await;
        for sandbox in [&one, &two] {
            let request = Connect::new(network, sandbox.id, sandbox.hostname.clone());
            controller.endpoints.connect(request).await.unwrap();
        }
        Self {
            bridge: format!("br-{}", network.short()),
            folder,
            controller,
            one,
            two,
        }
    }

    fn shell(&self, script: &str) {
        let script = script.replace("BRIDGE", &self.bridge);
        let (done, text) = run("sh", &["-ec", &script]);
        assert!(done, "{script}: {text}");
    }

    fn one_reaches(&self, address: &str) -> bool {
        inside(&self.one, &["ping", "-c1", "-W0.2", address]).0
    }

    /// Waits for something, no longer than was promised.
    async fn comes(&self, what: &str, is_there: impl Fn() -> bool) -> Duration {
        let began = Instant::now();
        while !is_there() {
            assert!(began.elapsed() < PROMISED, "{what} is not repaired");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }

    /// Waits until the reconciler has had nothing to do for longer than any repair waits for its moment, and answers how
    /// often it worked since the test began to count.
    async fn settles(&self, before: u64) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let runs = self.controller.work().runs;
            tokio::time::sleep(Duration::from_millis(2000)).await;
            if self.controller.work().runs == runs {
                return runs - before;
            }
            assert!(Instant::now() < deadline, "a repair wakes the next one");
        }
    }
}

/// A TCP connection from one container to a server in the other.
fn connection(from: &Sandbox, to: &Sandbox, address: &str) -> (TcpStream, TcpStream) {
    let address: SocketAddr = address.parse().unwrap();
    let listener = netns::tcp_in(&PathBuf::from(to.netns().unwrap()), address).unwrap();
    let client = netns::enter(from.netns().unwrap(), || TcpStream::connect(address)).unwrap();
    let (server, _) = listener.accept().unwrap();
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    }
    (client, server)
}

fn still_works((client, server): &mut (TcpStream, TcpStream)) {
    client.write_all(b"still here").unwrap();
    let mut heard = [0; 10];
    server.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"still here");
}

fn rules() -> String {
    run("nft", &["-s", "list", "ruleset"]).1
}

fn link(name: &str) -> String {
    run("ip", &["-o", "link", "show", "dev", name]).1
}

#[test]
fn a_flushed_firewall_is_back_while_connections_go_on_and_nothing_else_is_touched() {
    in_namespaces_of_its_own(async || {
        let scene = Scene::new().await;
        let (rules_before, links) = (rules(), run("ip", &["-o", "link"]).1);
        let mut flow = connection(&scene.one, &scene.two, "10.1.0.3:80");
        let before = scene.controller.work().runs;
        scene.shell("nft flush ruleset");
        let took = scene.comes("the firewall", || rules() == rules_before).await;
        still_works(&mut flow);
        assert_eq!(run("ip", &["-o", "link"]).1, links, "links were left alone");
        assert_eq!(scene.settles(before).await, 1, "one repair, after {took:?}");
    });
}

#[test]
fn somebodys_rule_in_our_chain_and_a_missing_element_are_put_right() {
    in_namespaces_of_its_own(async || {
        let scene = Scene::new().await;
        let before = rules();
        let table = before
            .lines()
            .find_map(|line| line.strip_prefix("table inet cnm-"))
            .and_then(|line| line.split_whitespace().next())
            .map(|name| format!("cnm-{name}"))
            .expect("our table");
        scene.shell(&format!("nft insert rule inet {table} forward drop"));
        scene.comes("a chain", || rules() == before).await;
        scene.shell(&format!("nft flush map inet {table} within"));
        scene.comes("a map", || rules() == before).await;
        assert!(scene.one_reaches("10.1.0.3"));
    });
}

#[test]
fn a_bridge_that_is_downed_or_deleted_under_running_containers_is_back_with_its_ports() {
    in_namespaces_of_its_own(async || {
        let scene = Scene::new().await;
        let mut flow = connection(&scene.one, &scene.two, "10.1.0.3:80");
        let before = scene.controller.work().runs;
        for damage in [
            "ip link set dev BRIDGE down",
            "ip addr flush dev BRIDGE",
            "ip link del dev BRIDGE",
        ] {
            scene.shell(damage);
            let took = scene
                .comes(damage, || {
                    scene.one_reaches("10.1.0.1") && scene.one_reaches("10.1.0.3")
                })
                .await;
            eprintln!("{damage}: repaired after {took:?}");
            still_works(&mut flow);
        }
        assert!(scene.settles(before).await <= 6);
    });
}

#[test]
fn a_container_whose_interface_is_deleted_gets_it_back_with_addresses_and_way_out() {
    in_namespaces_of_its_own(async || {
        let scene = Scene::new().await;
        let ports = run("ip", &["-o", "link", "show", "master", &scene.bridge]).1;
        let port = ports
            .split_whitespace()
            .nth(1)
            .and_then(|name| name.split('@').next())
            .expect("a port");
        let neighbours = link(&scene.bridge);
        scene.shell(&format!("ip link del dev {port}"));
        scene
            .comes("an interface", || {
                scene.one_reaches("10.1.0.3") && scene.one_reaches("10.1.0.1")
            })
            .await;
        let routes = inside(&scene.one, &["ip", "route"]).1;
        assert!(routes.contains("default via 10.1.0.1"), "{routes}");
        assert_eq!(link(&scene.bridge), neighbours, "the bridge was left alone");
    });
}

#[test]
fn forwarding_that_is_switched_off_is_on_again() {
    in_namespaces_of_its_own(async || {
        let scene = Scene::new().await;
        // The thread's own namespace has files of its own.
        let forwarding = || run("sysctl", &["-n", "net.ipv4.ip_forward"]).1;
        assert_eq!(forwarding().trim(), "1");
        let before = scene.controller.work().runs;
        scene.shell("sysctl -qw net.ipv4.ip_forward=0");
        scene.comes("forwarding", || forwarding().trim() == "1").await;
        assert!(scene.settles(before).await <= 2);
    });
}

#[test]
fn the_hosts_new_name_server_reaches_containers_but_not_a_file_that_its_user_has_edited() {
    in_namespaces_of_its_own(async || {
        let scene = Scene::new().await;
        let file = |name: &str| scene.folder.path().join(name).join("resolv.conf");
        let text = |name: &str| std::fs::read_to_string(file(name)).unwrap();
        assert!(text("one").contains("192.0.2.53"));
        std::fs::write(file("two"), "nameserver 9.9.9.9\n").unwrap();
        let host = scene.folder.path().join("host-resolv.conf");
        std::fs::write(host, "nameserver 192.0.2.54\nsearch example.org\n").unwrap();
        scene
            .comes("the search domain", || text("one").contains("search example.org"))
            .await;
        assert!(text("one").contains("192.0.2.54"));
        assert_eq!(text("two"), "nameserver 9.9.9.9\n");
    });
}

#[test]
fn removing_a_network_ourselves_repairs_nothing() {
    in_namespaces_of_its_own(async || {
        let scene = Scene::new().await;
        for sandbox in [&scene.one, &scene.two] {
            scene.controller.sandboxes.delete(sandbox.id).await.unwrap();
        }
        scene.controller.networks.delete("lab").await.unwrap();
        scene.settles(0).await;
        assert!(link(&scene.bridge).contains("does not exist"));
        assert!(!rules().contains(&scene.bridge));
    });
}

/// The far end of the host's uplink, which knows no way back to containers.
fn outside(scene: &Scene) -> PathBuf {
    let pin = scene.folder.path().join("outside").join("netns");
    netns::create(&pin).unwrap();
    let netns = format!("--net={}", pin.display());
    // Made over there, with its other end sent to the host's first process of this test, which is this one.
    let host = format!(
        "/proc/{}/task/{}/ns/net",
        std::process::id(),
        nix::unistd::gettid()
    );
    let make = format!(
        "mount -t tmpfs none /run; mkdir /run/netns; touch /run/netns/host; mount --bind {host} /run/netns/host; \
         ip link add up1 type veth peer name up0 netns host; ip addr add 198.51.100.2/24 dev up1; ip link set up1 up"
    );
    let made = run("unshare", &["-m", "nsenter", &netns, "sh", "-ec", &make]);
    assert!(made.0, "{}", made.1);
    scene.shell("ip addr add 198.51.100.1/24 dev up0; ip link set up0 up");
    pin
}

#[test]
fn somebodys_policy_to_drop_what_is_forwarded_does_not_cut_containers_off() {
    in_namespaces_of_its_own(async || {
        let scene = Scene::new().await;
        let pin = outside(&scene);
        scene
            .comes("a way out", || scene.one_reaches("198.51.100.2"))
            .await;
        let theirs = |rules: &str| -> Vec<String> {
            let foreign = rules.lines().filter(|line| !line.contains("cnm"));
            foreign.map(str::to_owned).collect()
        };
        for program in ["iptables", "iptables-legacy"] {
            let forward = || run(program, &["-S"]).1;
            // A chain of ours with a rule for each direction, and the way into it.
            let ours = || forward().matches("cnm:").count();
            scene.shell(&format!(
                "{program} -A FORWARD -i nowhere -j ACCEPT; {program} -P FORWARD DROP"
            ));
            let before = theirs(&forward());
            scene.comes(program, || ours() == 3).await;
            assert!(scene.one_reaches("198.51.100.2"), "{}", forward());
            assert_eq!(theirs(&forward()), before, "nobody else's rule was touched");
            scene.shell(&format!("{program} -F FORWARD"));
            scene.comes("our rules after a flush", || ours() == 3).await;
            assert!(scene.one_reaches("198.51.100.2"));
            scene.shell(&format!("{program} -P FORWARD ACCEPT"));
            scene
                .comes("no rules where none are needed", || ours() == 0)
                .await;
        }
        netns::remove(&pin).unwrap();
    });
}

#[test]
fn rules_of_iptables_that_somebody_flushes_are_back_while_connections_go_on() {
    in_namespaces_of_its_own(async || {
        let node = NodeId::from_bytes([7; 32]);
        let scene = Scene::on(Linux::here().unwrap().with_iptables(node).unwrap()).await;
        let rules = || run("iptables-save", &[]).1;
        let ours = || rules().lines().filter(|line| line.contains("CNM-")).count();
        let before = ours();
        assert!(before > 10, "{}", rules());
        assert!(!run("nft", &["list", "tables"]).1.contains("cnm-"));
        let mut flow = connection(&scene.one, &scene.two, "10.1.0.3:80");
        for damage in [
            "iptables -F",
            "iptables -t nat -F; iptables -t nat -X",
            "iptables -P FORWARD DROP; iptables -F FORWARD",
        ] {
            scene.shell(damage);
            assert!(ours() < before, "{damage}");
            scene.comes(damage, || ours() == before).await;
            still_works(&mut flow);
        }
        assert!(scene.one_reaches("10.1.0.1") && scene.one_reaches("10.1.0.3"));
    });
}

#[test]
fn a_sysctl_that_a_connection_asked_for_has_its_value_again() {
    in_namespaces_of_its_own(async || {
        let scene = Scene::new().await;
        let request = create("loud", "bridge", Some("10.2.0.0/24"));
        let network = scene.controller.networks.create(request).await.unwrap().id;
        let mut request = Connect::new(network, scene.one.id, scene.one.hostname.clone());
        let asked = "net.ipv4.conf.IFNAME.log_martians=1";
        request
            .options
            .insert("com.docker.network.endpoint.sysctls".to_owned(), asked.to_owned());
        scene.controller.endpoints.connect(request).await.unwrap();
        let value = || inside(&scene.one, &["sysctl", "-n", "net.ipv4.conf.eth1.log_martians"]).1;
        assert_eq!(value().trim(), "1");
        let runs = scene.controller.work().runs;
        assert_eq!(scene.settles(runs).await, 0, "who finds it whole repairs nothing");
        inside(
            &scene.one,
            &["sysctl", "-qw", "net.ipv4.conf.eth1.log_martians=0"],
        );
        let took = scene.comes("the sysctl", || value().trim() == "1").await;
        eprintln!("repaired after {took:?}");
    });
}

#[test]
fn what_is_taken_away_inside_of_a_container_is_back_and_its_own_doings_stay() {
    in_namespaces_of_its_own(async || {
        let scene = Scene::new().await;
        let seen = || {
            let rules = inside(&scene.one, &["nft", "-s", "list", "ruleset"]).1;
            let routes = inside(&scene.one, &["ip", "-o", "route"]).1;
            let addresses = inside(&scene.one, &["ip", "-o", "-4", "address", "show", "up"]).1;
            (rules, routes, addresses)
        };
        let before = seen();
        assert!(before.0.contains("cnm-dns") && before.1.contains("default via 10.1.0.1"));
        let mut flow = connection(&scene.one, &scene.two, "10.1.0.3:80");
        for damage in [
            &["nft", "flush", "ruleset"][..],
            &["ip", "route", "flush", "default"],
            &["ip", "route", "flush", "table", "main"],
            &["ip", "address", "flush", "dev", "eth0"],
            &["ip", "link", "set", "dev", "eth0", "down"],
        ] {
            inside(&scene.one, damage);
            let took = scene.comes(&damage.join(" "), || seen() == before).await;
            eprintln!("{}: repaired after {took:?}", damage.join(" "));
        }
        still_works(&mut flow);
        // What a container adds for itself is nobody else's business, and nothing to repair.
        let runs = scene.controller.work().runs;
        inside(
            &scene.one,
            &["ip", "route", "add", "10.77.0.0/16", "via", "10.1.0.3"],
        );
        inside(&scene.one, &["ip", "route", "del", "10.77.0.0/16"]);
        assert_eq!(scene.settles(runs).await, 0);
        // A watch keeps no namespace.
        let pin = scene.one.netns().unwrap().clone();
        let id = |path: &std::path::Path| {
            use std::os::unix::fs::MetadataExt as _;
            std::fs::metadata(path).unwrap().ino()
        };
        let namespace = id(&pin);
        drop(flow);
        scene.controller.sandboxes.delete(scene.one.id).await.unwrap();
        let listed = || run("lsns", &["-t", "net", "-n", "-o", "NS"]).1;
        scene
            .comes("the end of the namespace", || {
                !listed().lines().any(|line| line.trim() == namespace.to_string())
            })
            .await;
    });
}
