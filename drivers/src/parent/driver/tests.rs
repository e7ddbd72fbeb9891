//! Sub-interfaces that a daemon left behind when it died.

use kernel::{FakeKernel, object::Link};

use super::*;
use crate::{
    macvlan::Macvlan,
    samples::{labels, network, node},
};

fn name(text: &str) -> InterfaceName {
    InterfaceName::new(text).expect("a name")
}

fn eth0() -> Object {
    Object::Link(Link {
        netns: Netns::Host,
        name: name("eth0"),
        kind: LinkKind::Existing,
        mac: None,
        mtu: None,
        master: None,
        up: true,
    })
}

fn driver(kernel: &Arc<FakeKernel>) -> OnParent<Macvlan> {
    let kernel: Arc<dyn Kernel> = kernel.clone();
    OnParent::new(Macvlan, &kernel, node(), &Arc::default())
}

fn on(parent: &str) -> Network {
    Network {
        options: labels(&[("parent", parent)]),
        ..network("macvlan", 1, &["10.0.0.0/24"])
    }
}

#[tokio::test]
async fn one_that_no_network_stands_on_goes_and_others_stay() {
    let kernel = Arc::new(FakeKernel::new());
    kernel.put(eth0());
    // Made, and then the daemon died before anything was recorded.
    driver(&kernel)
        .create_network(&on("eth0.50"))
        .await
        .expect("made");
    // The user's own, which bears no mark.
    kernel.put(sub_interface_link(&name("eth0.60"), &name("eth0"), 60));
    let again = driver(&kernel);
    again.create_network(&on("eth0.70")).await.expect("made");
    again.tidy().await.expect("tidied");
    let there = |link: &str| kernel.link(&Netns::Host, link).is_some();
    assert!(!there("eth0.50"), "nobody stands on it");
    assert!(there("eth0.60"), "it is somebody else's");
    assert!(there("eth0.70"), "a network stands on it");
    assert!(there("eth0"));
    again.tidy().await.expect("nothing is left to do");
}
