//! What every built-in driver must do, on the fake kernel and on Linux: verbs may be called again, what they made goes
//! with the verb that says so, and a failure leaves nothing.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use kernel::{
    FakeKernel, Kernel, KernelState, Key, Linux, Mark, Netns, Object, Owner, Step, netns,
    object::{BridgePort, Link, LinkKind, VethPeer},
    ruleset,
};
use model::{Endpoint, Lifecycle, Network};

use crate::{
    Access, BuiltIn, Catalog as _, Driver, Error, HostSettings, Local, NetworkView, Peer, Result, Target,
    VXLAN_PORT,
    lab::{Lab, interface},
    remote::Remote,
    samples::{endpoint, network, node, peer, ports, target},
    served::{Served, serve},
};

/// How a driver is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Here,
    /// As a plugin, by our own host of plugins.
    OverTheWire,
}

/// A driver with everything that its verbs take.
struct Subject {
    lab: Lab,
    way: Way,
    driver: Arc<dyn Driver>,
    makes_something: bool,
    kernel: Arc<dyn Kernel>,
    fake: Option<Arc<FakeKernel>>,
    network: Network,
    endpoint: Endpoint,
    target: Target,
    peer: Peer,
    home: PathBuf,
}

impl Subject {
    fn new(name: &str, fake: bool) -> Self {
        Self::by(Way::Here, name, fake)
    }

    fn by(way: Way, name: &str, fake: bool) -> Self {
        let lab = Lab::new();
        let fake = fake.then(|| Arc::new(FakeKernel::new()));
        let kernel: Arc<dyn Kernel> = match &fake {
            Some(fake) => Arc::clone(fake) as _,
            None => Arc::new(netns::enter(&lab.namespace("host"), Linux::here).expect("a kernel")),
        };
        let settings = HostSettings {
            node: node(),
            address: [192, 0, 2, 1].into(),
            vxlan_port: VXLAN_PORT,
            exec_root: lab.pin("").with_file_name("host"),
            firewall: true,
            ip_forward: true,
        };
        let driver = BuiltIn::new(&settings, &kernel)
            .expect("a catalog")
            .driver(name)
            .expect("a driver");
        let makes_something = driver.capabilities().addresses;
        let driver = match way {
            Way::Here => driver,
            Way::OverTheWire => over_the_wire(&lab, driver, &kernel),
        };
        let network = Network {
            // A plugin is not told again of what is made.
            lifecycle: match way {
                Way::Here => Lifecycle::Active,
                Way::OverTheWire => Lifecycle::Creating,
            },
            ..network(name, 1, &["172.16.2.0/24", "fd00:2::/64"])
        };
        let endpoint = endpoint(&network, 0xe1, &["172.16.2.2/24", "fd00:2::2/64"]);
        let far = crate::samples::endpoint(&network, 0xe2, &["172.16.2.3/24", "fd00:2::3/64"]);
        let target = match name {
            "host" => Target {
                netns: None,
                interface: interface("eth0"),
                ports: Vec::new(),
                exposed: Vec::new(),
                on_host: false,
            },
            _ => target(&lab.pin("box")),
        };
        let subject = Self {
            home: settings
                .exec_root
                .join("netns")
                .join(format!("ov-{}", network.id.short())),
            peer: peer(far, "192.0.2.2"),
            lab,
            way,
            driver,
            makes_something,
            kernel,
            fake,
            network,
            endpoint,
            target,
        };
        subject.make_sandbox();
        subject
    }

    fn sandbox_steps(&self) -> Option<Object> {
        self.target.netns.clone().map(Object::Namespace)
    }

    fn make_sandbox(&self) {
        self.apply(self.sandbox_steps().map(Step::Create));
    }

    fn end_sandbox(&self) {
        self.apply(self.sandbox_steps().map(Step::Remove));
    }

    fn apply(&self, step: Option<Step>) {
        let mark = Mark {
            node: node(),
            owner: Owner::Host,
        };
        let steps: Vec<_> = step.into_iter().collect();
        self.kernel.apply(&mark, &steps).expect("a sandbox");
    }

    fn create(&self) -> Result<()> {
        self.lab.run(self.driver.create_network(&self.network))
    }

    fn delete(&self) -> Result<()> {
        self.lab.run(self.driver.delete_network(&self.network))
    }

    fn join(&self) -> Result<()> {
        let joining = self.driver.join(&self.network, &self.endpoint, &self.target);
        self.lab.run(joining).map(drop)
    }

    fn leave(&self) -> Result<()> {
        self.lab
            .run(self.driver.leave(&self.network, &self.endpoint, &self.target))
    }

    fn meet(&self) -> Result<()> {
        let peers = [self.peer.clone()];
        self.lab
            .run(self.driver.peers_changed(&self.network, &[], &peers))
    }

    fn repair(&self, local: bool, peers: bool) {
        let view = NetworkView {
            network: Arc::new(self.network.clone()),
            local: match local {
                true => vec![Local {
                    endpoint: Arc::new(self.endpoint.clone()),
                    target: self.target.clone(),
                    access: Access::default(),
                }],
                false => Vec::new(),
            },
            peers: match peers {
                true => vec![self.peer.clone()],
                false => Vec::new(),
            },
        };
        self.lab.run(self.driver.repair(&view)).expect("it repairs");
    }

    /// What there is of the driver's making: objects with a mark, in the host and in the network's own namespace, and the
    /// entries on its links. The base, made once for all networks, doesn't count.
    fn made(&self) -> KernelState {
        assert!(self.kernel.settle(Duration::from_secs(10)));
        let mut made = self
            .kernel
            .observe(&[Key::Namespace(self.home.clone())])
            .expect("an answer");
        let mut places = vec![Netns::Host];
        places.extend((!made.is_empty()).then(|| Netns::Pinned(self.home.clone())));
        for place in places {
            for (mark, object) in self.kernel.observe_owned(&place, node()).expect("a list") {
                if let Object::Link(link) = &object {
                    made.extend(self.kernel.observe_entries(&place, &link.name).expect("a list"));
                }
                made.extend((mark.owner != Owner::Host).then(|| without_chance(object)));
            }
        }
        made
    }

    /// What there is when everything was done.
    fn realized(&self) -> KernelState {
        self.create().expect("it is made");
        self.join().expect("it joins");
        self.meet().expect("it meets");
        self.made()
    }
}

/// The same without the Ethernet address that a kernel draws where none is asked for.
fn without_chance(object: Object) -> Object {
    match object {
        Object::Link(link) if link.kind != LinkKind::Bridge => Object::Link(Link { mac: None, ..link }),
        object => object,
    }
}

/// Whether the driver's links can be made outside of the emulated machine.
fn is_here(name: &str) -> bool {
    name != "ipvlan" || cfg!(feature = "vm")
}

/// Runs a case on every driver on both kernels, and again with those that make something as plugins.
fn on_every_driver(case: impl Fn(&Subject)) {
    for name in ["null", "host", "bridge", "macvlan", "ipvlan", "overlay"] {
        // The machine that tests run on may have none: tests/vm.sh has one.
        for fake in [true, false].into_iter().filter(|fake| *fake || is_here(name)) {
            eprintln!("{name} on {}", if fake { "the fake kernel" } else { "Linux" });
            let subject = Subject::new(name, fake);
            case(&subject);
            if subject.makes_something {
                eprintln!("{name} as a plugin");
                case(&Subject::by(Way::OverTheWire, name, fake));
            }
        }
    }
}

/// A driver of ours as a plugin, as our host of plugins sees it.
fn over_the_wire(lab: &Lab, driver: Arc<dyn Driver>, kernel: &Arc<dyn Kernel>) -> Arc<dyn Driver> {
    let served = Arc::new(Served {
        driver,
        kernel: Arc::clone(kernel),
        stage: None,
        state: Mutex::default(),
    });
    let remote = Remote::new(serve(lab.folder(), "ours", &served));
    lab.run(remote.activate(Duration::ZERO)).expect("it is there");
    Arc::new(remote)
}

#[test]
fn every_verb_may_be_called_again() {
    on_every_driver(|subject| {
        let once = subject.realized();
        assert_eq!(once.is_empty(), !subject.makes_something);
        assert_eq!(subject.realized(), once);
        for _ in 0..2 {
            subject.leave().expect("it leaves");
        }
        for _ in 0..2 {
            subject.delete().expect("it goes");
        }
        assert_eq!(subject.made(), KernelState::new());
    });
}

#[test]
fn what_is_not_there_can_be_removed() {
    on_every_driver(|subject| {
        subject.leave().expect("nothing to leave");
        subject.delete().expect("nothing to delete");
        subject.meet().expect("nobody to tell");
        assert_eq!(subject.made(), KernelState::new());
    });
}

#[test]
fn leaving_a_sandbox_that_is_gone_is_no_error() {
    on_every_driver(|subject| {
        subject.realized();
        subject.end_sandbox();
        subject.leave().expect("it left with its sandbox");
        subject.delete().expect("it goes");
        assert_eq!(subject.made(), KernelState::new());
    });
}

#[test]
fn joining_realizes_a_network_that_is_not_there_yet() {
    on_every_driver(|subject| {
        if subject.way == Way::OverTheWire {
            // A plugin knows what it was told, and says so.
            let refused = subject.join().expect_err("nobody told it of the network");
            assert_eq!(
                refused.to_string(),
                "NetworkDriver.CreateEndpoint: no such network"
            );
            assert_eq!(subject.made(), KernelState::new());
            return;
        }
        subject.join().expect("it joins");
        subject.leave().expect("it leaves");
        let network = subject.made();
        subject.create().expect("it is there");
        assert_eq!(subject.made(), network);
    });
}

#[test]
fn repairing_makes_what_the_view_says_and_no_more() {
    on_every_driver(|subject| {
        let all = subject.realized();
        subject.repair(true, true);
        assert_eq!(subject.made(), all, "nothing to repair");
        if subject.way == Way::OverTheWire {
            // What a plugin has made it keeps itself.
            subject.leave().expect("it leaves");
            subject.delete().expect("it goes");
            subject.repair(true, true);
            assert_eq!(subject.made(), KernelState::new());
            return;
        }
        subject.repair(true, false);
        let without_peer = subject.made();
        subject.meet().expect("it meets");
        assert_eq!(subject.made(), all);
        subject.leave().expect("it leaves");
        subject.delete().expect("it goes");
        subject.repair(true, false);
        assert_eq!(subject.made(), without_peer, "made anew");
    });
}

#[test]
fn a_flushed_firewall_is_repaired_and_does_not_stop_a_new_network() {
    for fake in [true, false] {
        let subject = Subject::new("bridge", fake);
        let all = subject.realized();
        let flush = |subject: &Subject| {
            let table = ruleset::Table::inet(format!("cnm-{}", node().prefix(8)));
            let table = Object::Firewall(Netns::Host, ruleset::Item::Table(table));
            subject.apply(Some(Step::Remove(table)));
        };
        flush(&subject);
        assert_ne!(subject.made(), all);
        subject.repair(true, true);
        assert_eq!(subject.made(), all);
        flush(&subject);
        subject.create().expect("the base is made again");
        assert_eq!(subject.made(), all);
    }
}

#[test]
fn a_device_that_is_somebody_elses_is_refused_and_left_alone() {
    for fake in [true, false] {
        let subject = Subject::new("bridge", fake);
        let name = format!("br-{}", subject.network.id.short());
        let theirs = Object::Link(Link {
            netns: Netns::Host,
            name: interface(&name),
            kind: LinkKind::Veth {
                peer: VethPeer {
                    netns: Netns::Host,
                    name: interface("theirs"),
                    mac: None,
                    mtu: None,
                    up: true,
                    ipv6: true,
                },
                port: BridgePort::default(),
            },
            mac: None,
            mtu: None,
            master: None,
            up: true,
        });
        subject.apply(Some(Step::Create(theirs.clone())));
        assert!(matches!(subject.create(), Err(Error::Forbidden { .. })));
        let there = subject.kernel.observe(&[theirs.key()]).expect("an answer");
        assert_eq!(there.len(), 1);
        assert_eq!(subject.made(), KernelState::new());
    }
}

#[test]
fn a_failure_at_any_step_leaves_nothing() {
    let ways = [Way::Here, Way::OverTheWire];
    for (name, way) in ["bridge", "macvlan", "ipvlan", "overlay"]
        .into_iter()
        .flat_map(|name| ways.map(|way| (name, way)))
    {
        let subject = Subject::by(way, name, true);
        let fake = subject.fake.as_ref().expect("the fake");
        subject.create().expect("it is made");
        subject.delete().expect("it goes, and leaves the base");
        fails_at_every_step(fake, || subject.create());
        subject.create().expect("it is made");
        fails_at_every_step(fake, || subject.join());
        subject.join().expect("it joins");
        if way == Way::Here && subject.driver.capabilities().scope == model::Scope::Global {
            fails_at_every_step(fake, || subject.meet());
        }
    }
}

#[test]
fn a_failed_publishing_leaves_what_was_published() {
    let subject = Subject::new("bridge", true);
    let fake = subject.fake.as_ref().expect("the fake");
    subject.create().expect("it is made");
    subject.join().expect("it joins");
    let access = |texts: &[&str]| Access {
        ports: texts.iter().map(|text| ports(text)).collect(),
        ..Access::default()
    };
    let first = access(&["127.0.0.1:80->80/tcp", "0.0.0.0:8000-8009->8000-8009/tcp"]);
    let second = access(&["127.0.0.1:80->81/tcp", "0.0.0.0:8000-8019->8000-8019/tcp"]);
    let publish = |before, after| {
        let verb = subject
            .driver
            .publish(&subject.network, &subject.endpoint, before, after);
        subject.lab.run(verb)
    };
    let nothing = Access::default();
    fails_at_every_step(fake, || publish(&nothing, &first));
    publish(&nothing, &first).expect("it is published");
    fails_at_every_step(fake, || publish(&first, &second));
}

/// Lets a verb fail at its first step, its second, … until it has no more, and sees that it left everything as it was.
fn fails_at_every_step(fake: &FakeKernel, verb: impl Fn() -> Result<()>) {
    let before = fake.state();
    for step in 0.. {
        fake.fail_at(step);
        let outcome = verb();
        if fake.heal() {
            outcome.expect("it had no such step");
            assert!(step > 0, "it did something");
            break;
        }
        assert!(outcome.is_err(), "step {step} failed");
        assert_eq!(fake.state(), before, "after step {step}");
    }
    // The last round went through: take it back as far as a following verb would mind.
    for key in fake.state().keys().filter(|key| before.get(key).is_none()) {
        fake.take(key);
    }
}

/// Counted in route netlink messages and look-ups: the thousandth endpoint costs what the first did.
#[test]
fn a_join_looks_at_nothing_that_it_does_not_change() {
    static COST: OnceLock<usize> = OnceLock::new();
    let subject = Subject::new("bridge", true);
    let fake = subject.fake.as_ref().expect("the fake");
    subject.create().expect("it is made");
    for number in 1..=50 {
        let endpoint = endpoint(
            &subject.network,
            number,
            &[&format!("172.16.2.{}/24", number + 1)],
        );
        let pin = subject.lab.pin(&format!("box{number}"));
        subject.apply(Some(Step::Create(Object::Namespace(pin.clone()))));
        let before = (fake.steps(), fake.observed());
        let target = target(&pin);
        let joining = subject.driver.join(&subject.network, &endpoint, &target);
        subject.lab.run(joining).expect("it joins");
        let cost = fake.steps() - before.0;
        assert_eq!(fake.observed(), before.1, "nothing is looked up");
        assert_eq!(cost, *COST.get_or_init(|| cost));
    }
}

#[test]
fn what_a_plugin_makes_is_what_its_driver_makes() {
    for name in ["bridge", "macvlan", "ipvlan", "overlay"] {
        let made = |way| {
            let subject = Subject::by(way, name, true);
            subject.create().expect("it is made");
            subject.join().expect("it joins");
            // Each lab has a folder of its own.
            let folder = subject.lab.folder().display().to_string();
            let made = subject.made();
            let texts = made
                .objects()
                .map(|object| format!("{object:?}").replace(&folder, "(lab)"));
            texts.collect::<Vec<_>>()
        };
        let here = made(Way::Here);
        assert!(!here.is_empty(), "{name}");
        assert_eq!(made(Way::OverTheWire), here, "{name}");
    }
}
