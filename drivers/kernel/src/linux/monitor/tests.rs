//! What is heard on the real kernel, and what isn't: our own doing.

use std::{
    fs,
    process::Command,
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use crate::{
    Damage, Kernel, KernelState, Linux, Mark, Netns, Object, Owner, Watch,
    contract::objects::*,
    ensure,
    linux::tests::apart,
    object::Sysctl,
    remove,
    ruleset::{Item, Table},
};

/// A host that listens.
struct Scene {
    kernel: Linux,
    mark: Mark,
    heard: Receiver<Damage>,
    _watch: Watch,
}

impl Scene {
    fn new() -> Self {
        let kernel = Linux::here().expect("a kernel");
        let (tell, heard) = channel();
        let watch = kernel.watch(Box::new(move |damage| {
            let _ = tell.send(damage);
        }));
        Self {
            kernel,
            mark: Mark {
                node: model::NodeId::random(),
                owner: Owner::Network(model::NetworkId::random()),
            },
            heard,
            _watch: watch.expect("a monitor"),
        }
    }

    fn make(&self, objects: impl IntoIterator<Item = Object>) -> KernelState {
        let objects: KernelState = objects.into_iter().collect();
        ensure(&self.kernel, &self.mark, &objects).expect("making objects");
        objects
    }

    /// Waits for damage of some kind.
    fn hears(&self, what: &str, is_it: impl Fn(&Damage) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut all = Damage::default();
        while !is_it(&all) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(damage) => all.merge(damage),
                Err(_) => panic!("{what} was not heard of, but {all:?}"),
            }
        }
    }

    /// Everything that was announced before a sign of the test's own.
    fn heard_so_far(&self) -> Damage {
        let sign = Table {
            family: crate::ruleset::Family::Ip,
            name: "sign".to_owned(),
        };
        run(&format!("nft add table {sign}; nft delete table {sign}"));
        let mut all = Damage::default();
        while !all.others {
            let damage = self.heard.recv_timeout(Duration::from_secs(10));
            all.merge(damage.expect("the sign is heard"));
        }
        all.others = false;
        all
    }

    fn blames_the_owner(&self, damage: &Damage) -> bool {
        damage.owners.contains(&self.mark.owner)
    }
}

fn run(script: &str) {
    let status = Command::new("sh").args(["-ec", script]).status();
    assert!(status.expect("a shell").success(), "{script}");
}

fn forwarding(name: &str, value: &str) -> Object {
    Object::Sysctl(Sysctl {
        netns: Netns::Host,
        name: name.to_owned(),
        value: value.to_owned(),
    })
}

fn a_network() -> Vec<Object> {
    let table = Table::inet("cnm-test");
    vec![
        Object::Firewall(Netns::Host, Item::Table(table)),
        forwarding("net/ipv4/ip_forward", "1"),
        Object::Link(bridge(&Netns::Host, "br")),
        forwarding("net/ipv4/conf/br/route_localnet", "1"),
        address(&Netns::Host, "br", "10.1.0.1/24"),
    ]
}

#[test]
fn what_we_do_ourselves_is_no_damage() {
    apart(|| {
        let scene = Scene::new();
        let network = scene.make(a_network());
        scene.make(a_network());
        let heard = scene.heard_so_far();
        assert!(heard.is_none(), "{heard:?}");
        remove(&scene.kernel, &scene.mark, &network).expect("removing it");
        assert!(!scene.heard_so_far().rules, "our own removal");
    });
}

#[test]
fn what_others_do_to_ours_is_heard() {
    apart(|| {
        let scene = Scene::new();
        scene.make(a_network());
        scene.heard_so_far();
        let owner = |damage: &Damage| scene.blames_the_owner(damage);
        run("nft flush ruleset");
        scene.hears("a flush", |damage| damage.rules);
        run("ip link set dev br down");
        scene.hears("a downed link", owner);
        run("ip link set dev br up; ip addr flush dev br");
        scene.hears("a lost address", owner);
        run("ip link set dev br mtu 1400");
        scene.hears("another MTU", owner);
        run("ip link del dev br");
        scene.hears("a removed bridge", owner);
    });
}

#[test]
fn what_several_networks_share_is_told_by_its_name() {
    apart(|| {
        let mut scene = Scene::new();
        scene.mark.owner = Owner::Host;
        scene.make([Object::Link(bridge(&Netns::Host, "shared"))]);
        run("ip link del shared");
        scene.hears("its removal", |damage| {
            damage.links.iter().any(|link| link.as_str() == "shared") && scene.blames_the_owner(damage)
        });
    });
}

#[test]
fn a_port_that_loses_its_bridge_or_its_isolation_is_heard() {
    apart(|| {
        let scene = Scene::new();
        let mut port = port_of("br", veth(&Netns::Host, "veth1", &Netns::Host));
        if let crate::object::LinkKind::Veth { port, .. } = &mut port.kind {
            port.isolated = true;
        }
        scene.make([Object::Link(bridge(&Netns::Host, "br")), Object::Link(port)]);
        let heard = scene.heard_so_far();
        assert!(heard.owners.is_empty(), "{heard:?}");
        run("bridge link set dev veth1 isolated off");
        scene.hears("a port without isolation", |damage| {
            scene.blames_the_owner(damage)
        });
        run("ip link set veth1 nomaster");
        scene.hears("a port without its bridge", |damage| {
            scene.blames_the_owner(damage)
        });
    });
}

#[test]
fn a_sysctl_that_is_reset_is_heard_of_the_host_and_of_a_link() {
    apart(|| {
        let scene = Scene::new();
        scene.make(a_network());
        scene.heard_so_far();
        fs::write("/proc/sys/net/ipv4/ip_forward", "0").expect("writing it");
        scene.hears("forwarding switched off", |damage| damage.rules);
        fs::write("/proc/sys/net/ipv4/conf/br/route_localnet", "0").expect("writing it");
        scene.hears("a bridge's sysctl", |damage| damage.links.contains(&name("br")));
        scene.heard_so_far();
        scene.make(a_network());
        let heard = scene.heard_so_far();
        assert!(heard.is_none(), "a repair is no damage: {heard:?}");
    });
}

#[test]
fn a_change_of_the_hosts_own_addresses_and_way_out_is_heard_once() {
    apart(|| {
        let scene = Scene::new();
        run("ip link add up0 type bridge; ip link set up0 up; ip addr add 192.0.2.1/24 dev up0");
        scene.hears("an address", |damage| damage.surroundings);
        run("ip route add default via 192.0.2.254");
        scene.hears("a way out", |damage| damage.surroundings);
        scene.heard_so_far();
        run("ip route add 203.0.113.0/24 via 192.0.2.254");
        assert!(!scene.heard_so_far().surroundings, "a route is no way out");
        run("ip route del default");
        scene.hears("no way out", |damage| damage.surroundings);
    });
}

#[test]
fn watching_ends_with_its_guard() {
    apart(|| {
        let kernel = Linux::here().expect("a kernel");
        let (tell, heard) = channel::<Damage>();
        let watch = kernel.watch(Box::new(move |damage| drop(tell.send(damage))));
        drop(watch.expect("a monitor"));
        run("ip link add up0 type bridge; ip link del up0");
        assert!(heard.recv().is_err(), "nobody is left who could tell");
    });
}
