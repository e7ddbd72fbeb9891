//! A network that one host removes while another is about to use it, or was.

use model::{Lifecycle, Network};
use store::memory::Memory;

use super::{host::Host, spy::At};
use crate::Error;

#[tokio::test]
async fn a_network_that_is_being_removed_elsewhere_takes_no_endpoint() {
    let cluster = Memory::new();
    let (mut one, two) = (Host::of(1, &cluster).await, Host::of(2, &cluster).await);
    let network = one.network("ol1", "overlay", None).await.unwrap();
    two.sees("the network", |snapshot| {
        snapshot.networks.contains_key(&network.id)
    })
    .await;
    let sandbox = two.sandbox("late").await.unwrap();
    let global = one.global.clone().unwrap();
    // The first host dies with the removal announced and not done.
    global.at(1, At::DiesBefore);
    tokio::select! {
        removed = one.controller().networks.delete("ol1") => panic!("{removed:?}"),
        () = global.death() => {}
    }
    one.kill();
    two.sees("that it goes", |snapshot| {
        snapshot.networks[&network.id].lifecycle == Lifecycle::Deleting
    })
    .await;
    let before = global.keys().await;
    // A connect that had looked a moment earlier.
    let active = Network::clone(&network).into();
    two.controller().core.records.publish(|snapshot| {
        snapshot.networks.insert(network.id, active);
    });
    let refused = two.connect(network.id, &sandbox).await.unwrap_err();
    assert!(matches!(refused, Error::NotFound { .. }), "{refused}");
    assert_eq!(global.keys().await, before);
}

#[tokio::test]
async fn an_endpoint_that_was_freed_with_its_network_goes_when_its_host_is_back() {
    let cluster = Memory::new();
    let (mut one, two) = (Host::of(1, &cluster).await, Host::of(2, &cluster).await);
    let network = one.network("ol1", "overlay", None).await.unwrap();
    let sandbox = one.sandbox("test01").await.unwrap();
    let endpoint = one.connect(network.id, &sandbox).await.unwrap();
    two.sees("the endpoint", |snapshot| {
        snapshot.endpoints.contains_key(&endpoint.id)
    })
    .await;
    one.stop().await;
    two.sees("that it is dead", |snapshot| {
        !snapshot.live_nodes.contains(&endpoint.node)
    })
    .await;
    let endpoints = &two.controller().endpoints;
    endpoints.disconnect(endpoint.id, true).await.unwrap();
    two.controller().networks.delete("ol1").await.unwrap();
    one.start().await;
    one.sees("neither the endpoint nor the network", |snapshot| {
        !snapshot.endpoints.contains_key(&endpoint.id) && !snapshot.networks.contains_key(&network.id)
    })
    .await;
    assert_eq!(two.global.as_ref().unwrap().keys().await, Vec::<String>::new());
}
