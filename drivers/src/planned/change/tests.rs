use std::{path::Path, sync::Arc};

use kernel::{FakeKernel, Kernel, object::Address};
use model::InterfaceName;

use super::*;
use crate::{
    Access, Driver, Local, Planned,
    bridge::{Bridge, BridgeHost},
    samples,
};

const MTU: &str = "com.docker.network.driver.mtu";
const ICC: &str = "com.docker.network.bridge.enable_icc";

fn driver(kernel: &Arc<FakeKernel>) -> Planned<Bridge> {
    let host = BridgeHost {
        node: samples::node(),
        mtu: None,
        ipv6: true,
        firewall: true,
        ip_forward: true,
    };
    Planned::new(
        Bridge::new(host),
        Arc::clone(kernel) as Arc<dyn Kernel>,
        samples::node(),
    )
}

fn view(options: &[(&str, &str)]) -> NetworkView {
    let mut network = samples::network("bridge", 1, &["10.1.0.0/24"]);
    network.options = samples::labels(options);
    let endpoint = samples::endpoint(&network, 7, &["10.1.0.7/24"]);
    NetworkView {
        network: Arc::new(network),
        local: vec![Local {
            endpoint: Arc::new(endpoint),
            target: samples::target(Path::new("/run/netns/c7")),
            access: Access::default(),
        }],
        peers: Vec::new(),
    }
}

/// A kernel with the container's namespace and the network as the view says.
async fn realized(view: &NetworkView) -> (Arc<FakeKernel>, Planned<Bridge>) {
    let kernel = Arc::new(FakeKernel::new());
    let mark = kernel::Mark {
        node: samples::node(),
        owner: Owner::Host,
    };
    let namespace = KernelState::from_iter([Object::Namespace("/run/netns/c7".into())]);
    kernel::ensure(&*kernel, &mark, &namespace).expect("a namespace");
    let driver = driver(&kernel);
    driver.create_network(&view.network).await.expect("a network");
    let local = &view.local[0];
    driver
        .join(&view.network, &local.endpoint, &local.target)
        .await
        .expect("an endpoint");
    (kernel, driver)
}

fn mtus(state: &KernelState) -> Vec<(String, u32)> {
    let links = state.objects().filter_map(|object| match object {
        Object::Link(link) => Some((link.name.to_string(), link.mtu?)),
        _ => None,
    });
    links.filter(|(name, _)| name != "lo").collect()
}

#[tokio::test]
async fn a_new_mtu_reaches_the_bridge_and_both_ends_and_nothing_else_is_touched() {
    let (before, after) = (view(&[(MTU, "1500")]), view(&[(MTU, "1400")]));
    let (kernel, driver) = realized(&before).await;
    let shown = driver.preview(&after).await.expect("a preview");
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(
        shown
            .iter()
            .all(|line| line.starts_with("~ link") && line.contains("mtu 1500 -> 1400")),
        "{shown:?}"
    );
    driver.change(&before, &after).await.expect("a change");
    let found = mtus(&kernel.state());
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|(_, mtu)| *mtu == 1400), "{found:?}");
    assert_eq!(
        driver.preview(&after).await.expect("a preview"),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_change_that_fails_at_any_step_leaves_everything_as_it_was() {
    let (before, mut after) = (view(&[]), view(&[(MTU, "1400"), (ICC, "false")]));
    let mut network = Arc::unwrap_or_clone(after.network);
    network.pools = samples::network("bridge", 1, &["10.1.0.0/24", "10.2.0.0/24"]).pools;
    after.network = Arc::new(network);
    let (kernel, driver) = realized(&before).await;
    // On a real host every link has it.
    let name = format!("net/ipv4/conf/br-{}/proxy_arp_pvlan", before.network.id.short());
    let setting = Object::Sysctl(Sysctl {
        netns: kernel::Netns::Host,
        name,
        value: "0".to_owned(),
    });
    let mark = kernel::Mark {
        node: samples::node(),
        owner: Owner::Host,
    };
    kernel::ensure(&*kernel, &mark, &KernelState::from_iter([setting])).expect("a setting");
    let was = kernel.state();
    let mut steps = 0;
    loop {
        kernel.fail_at(steps);
        let result = driver.change(&before, &after).await;
        if kernel.heal() {
            result.expect("nothing fails any more");
            break;
        }
        assert!(result.is_err(), "step {steps} failed");
        let now = kernel.state();
        let differ = |one: &KernelState, other: &KernelState| -> Vec<_> {
            let objects = one
                .objects()
                .filter(|object| other.get(&object.key()) != Some(*object));
            objects.cloned().collect()
        };
        let (lost, new) = (differ(&was, &now), differ(&now, &was));
        assert!(
            lost.is_empty() && new.is_empty(),
            "failed at step {steps}: lost {lost:?}, new {new:?}"
        );
        steps += 1;
    }
    assert!(steps > 2, "{steps}");
    let bridge = InterfaceName::new(format!("br-{}", before.network.id.short())).expect("a name");
    let gateway = Object::Address(Address {
        netns: kernel::Netns::Host,
        link: bridge,
        address: "10.2.0.1/24".parse().expect("an address"),
    });
    assert!(
        kernel.state().get(&gateway.key()).is_some(),
        "the second subnet's gateway"
    );
}

#[test]
fn a_far_end_that_was_left_behind_is_known_by_its_mtu() {
    let pair = |mtu: Option<u32>| {
        let peer = kernel::object::VethPeer {
            netns: kernel::Netns::Pinned("/run/netns/c7".into()),
            name: InterfaceName::new("eth0").expect("a name"),
            mac: None,
            mtu,
            up: true,
            ipv6: true,
        };
        Object::Link(Link {
            netns: kernel::Netns::Host,
            name: InterfaceName::new("veth7").expect("a name"),
            kind: LinkKind::Veth {
                peer,
                port: kernel::object::BridgePort::default(),
            },
            mac: None,
            mtu,
            master: None,
            up: true,
        })
    };
    let rows = [
        (Some(1400), Some(1500), Some(1400)),
        (Some(1400), Some(1400), None),
        (None, Some(1500), None),
        (Some(1400), None, None),
    ];
    for (wanted, actual, becomes) in rows {
        let end = lagging_end(&pair(wanted), &pair(actual));
        let mtu = end.map(|end| match end {
            Object::Link(link) => (link.mtu, link.kind == LinkKind::VethPeer),
            other => panic!("{other:?}"),
        });
        assert_eq!(mtu, becomes.map(|mtu| (Some(mtu), true)), "{wanted:?} {actual:?}");
    }
}
