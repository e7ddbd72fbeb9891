//! A driver that knows a survey neither looks nor touches where all is well, and finds what is beyond.

use std::sync::Arc;

use kernel::{FakeKernel, Kernel, Mark, Netns, Object, Owner, Survey};
use model::Network;

use crate::{
    Driver, NetworkView, Planned,
    bridge::{Bridge, BridgeHost},
    samples::{network, node},
};

fn view(network: &Network) -> NetworkView {
    NetworkView {
        network: Arc::new(network.clone()),
        local: Vec::new(),
        peers: Vec::new(),
    }
}

async fn host(networks: &[Network]) -> (Arc<FakeKernel>, Arc<dyn Driver>) {
    let kernel = Arc::new(FakeKernel::new());
    let host = BridgeHost {
        node: node(),
        mtu: None,
        ipv6: false,
        firewall: true,
        ip_forward: true,
    };
    let driver: Arc<dyn Driver> = Arc::new(Planned::new(Bridge::new(host), kernel.clone(), node()));
    for network in networks {
        driver.create_network(network).await.expect("a network");
    }
    (kernel, driver)
}

fn surveyed(kernel: &FakeKernel, driver: &Arc<dyn Driver>) -> Arc<dyn Driver> {
    let survey = Arc::new(Survey::of_host(kernel, node()).expect("a look"));
    driver.knowing(&survey).expect("it looks")
}

#[tokio::test]
async fn a_hundred_networks_that_are_well_cost_one_look_at_the_base() {
    let networks: Vec<_> = (1..=100_u8)
        .map(|number| network("bridge", number, &[&format!("10.1.{number}.0/24")]))
        .collect();
    let (kernel, driver) = host(&networks).await;
    let driver = surveyed(&kernel, &driver);
    let cost = async |networks: &[Network]| {
        let before = (kernel.observed(), kernel.steps());
        for network in networks {
            driver.repair(&view(network)).await.expect("nothing to do");
            driver.create_network(network).await.expect("nothing to do");
        }
        (kernel.observed() - before.0, kernel.steps() - before.1)
    };
    // Sysctls, which no survey tells of: the base's with the first network, and each network's own.
    let (first, second) = (cost(&networks[..1]).await, cost(&networks[1..2]).await);
    assert!(first.0 > second.0, "{first:?} and {second:?}");
    let rest = cost(&networks[2..]).await;
    assert_eq!(rest, (second.0 * 98, 0));
}

#[tokio::test]
async fn what_a_survey_sees_beyond_the_records_is_removed() {
    let one = network("bridge", 1, &["10.1.1.0/24"]);
    let (kernel, driver) = host(std::slice::from_ref(&one)).await;
    let before = kernel.state();
    let mark = Mark {
        node: node(),
        owner: Owner::Network(one.id),
    };
    let link = before
        .objects()
        .find_map(|object| match object {
            Object::Link(link) if link.netns == Netns::Host && link.name.as_str() != "lo" => {
                Some(link.clone())
            }
            _ => None,
        })
        .expect("its bridge");
    let beyond = Object::Link(kernel::object::Link {
        name: model::InterfaceName::new("br-old").expect("a name"),
        mac: None,
        ..link
    });
    kernel::ensure(&*kernel, &mark, &[beyond].into_iter().collect()).expect("a leftover");
    surveyed(&kernel, &driver)
        .repair(&view(&one))
        .await
        .expect("a repair");
    assert_eq!(kernel.state(), before);
    assert!(
        kernel
            .observe_owned(&Netns::Host, node())
            .is_ok_and(|owned| !owned.is_empty())
    );
}
