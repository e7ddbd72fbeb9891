//! Flows of addresses that endpoints had: forgotten behind the answer, and before anybody else has the address.

use std::{net::IpAddr, sync::Arc};

use kernel::traffic::Flow;
use model::{Endpoint, Network};

use super::{host::Host, spy::At};
use crate::Connect;

fn flow_to(address: IpAddr) -> Flow {
    Flow {
        protocol: 17,
        from: "192.0.2.9".parse().unwrap(),
        to: "10.99.0.1".parse().unwrap(),
        to_port: 8080,
        answers_from: address,
    }
}

fn address(endpoint: &Endpoint) -> IpAddr {
    endpoint.addresses.ipv4.unwrap().addr().into()
}

async fn lab(host: &Host) -> Arc<Network> {
    host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap()
}

/// Connects somebody and lets a flow lead there.
async fn reached(host: &Host, network: &Network, name: &str) -> Arc<Endpoint> {
    let sandbox = host.sandbox(name).await.unwrap();
    let endpoint = host.connect(network.id, &sandbox).await.unwrap();
    host.kernel.put_flow(flow_to(address(&endpoint)));
    endpoint
}

async fn notes(host: &Host) -> Vec<String> {
    use store::Store as _;
    let listing = host.local.list(&"dead-flows".parse().unwrap()).await.unwrap();
    listing
        .entries
        .iter()
        .map(|entry| entry.key.last().to_owned())
        .collect()
}

#[tokio::test]
async fn nobody_waits_for_a_walk_but_who_gets_the_address_next() {
    let host = Host::alone().await;
    let network = lab(&host).await;
    let gone = reached(&host, &network, "gone").await;
    let next = host.sandbox("next").await.unwrap();
    let elsewhere = host.sandbox("elsewhere").await.unwrap();
    host.kernel.hold_flows(true);
    let endpoints = &host.controller().endpoints;
    endpoints.disconnect(gone.id, false).await.unwrap();
    host.comes("a walk", || host.kernel.walks() == 1).await;
    assert_eq!(host.kernel.flows(), [flow_to(address(&gone))]);
    let with = |sandbox: &model::Sandbox, wanted| Connect {
        ipv4: Some(wanted),
        ..Connect::new(network.id, sandbox.id, sandbox.hostname.clone())
    };
    let other = with(&elsewhere, "10.1.0.77".parse().unwrap());
    endpoints
        .connect(other)
        .await
        .expect("another address is free of its past");
    let wanted = gone.addresses.ipv4.unwrap().addr();
    let controller = Arc::clone(host.controller());
    let asked = with(&next, wanted);
    let joining = tokio::spawn(async move { controller.endpoints.connect(asked).await });
    let chosen = move |snapshot: &model::Snapshot| {
        let mut all = snapshot.endpoints.values();
        all.any(|endpoint| endpoint.addresses.ipv4.is_some_and(|net| net.addr() == wanted))
    };
    host.sees("the address chosen", chosen).await;
    let steps = host.kernel.steps();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!joining.is_finished());
    assert_eq!(
        host.kernel.steps(),
        steps,
        "nothing is made before the flows are gone"
    );
    host.kernel.hold_flows(false);
    let endpoint = joining.await.unwrap().unwrap();
    assert_eq!(address(&endpoint), address(&gone));
    assert_eq!(host.kernel.flows(), []);
    assert_eq!(host.kernel.walks(), 1);
}

#[tokio::test]
async fn many_that_go_are_forgotten_in_two_walks_and_their_notes_go_with_the_next() {
    let host = Host::alone().await;
    let network = lab(&host).await;
    let mut going = Vec::new();
    for number in 0..8 {
        going.push(reached(&host, &network, &format!("box{number}")).await);
    }
    let last = reached(&host, &network, "last").await;
    host.kernel.hold_flows(true);
    let endpoints = &host.controller().endpoints;
    let (first, more) = going.split_first().unwrap();
    endpoints.disconnect(first.id, false).await.unwrap();
    host.comes("a walk", || host.kernel.walks() == 1).await;
    for endpoint in more {
        let commits = host.local.commits();
        endpoints.disconnect(endpoint.id, false).await.unwrap();
        assert_eq!(
            host.local.commits() - commits,
            2,
            "a note costs no commit of its own"
        );
    }
    assert_eq!(notes(&host).await.len(), 8);
    host.kernel.hold_flows(false);
    host.flows_come_to(&[flow_to(address(&last))]).await;
    assert_eq!(host.kernel.walks(), 2);
    // The second walk's end is told after its flows are gone.
    let sandbox = host.sandbox("again").await.unwrap();
    let wanted = Connect {
        ipv4: Some(more[6].addresses.ipv4.unwrap().addr()),
        ..Connect::new(network.id, sandbox.id, "again".to_owned())
    };
    endpoints.connect(wanted).await.unwrap();
    endpoints.disconnect(last.id, false).await.unwrap();
    assert_eq!(notes(&host).await, [last.id.to_string()]);
    host.flows_come_to(&[]).await;
}

#[tokio::test]
async fn what_a_crash_leaves_is_forgotten_at_the_next_start() {
    for (commit, at) in [(0, At::DiesAfter), (1, At::DiesBefore), (1, At::DiesAfter)] {
        let mut host = Host::alone().await;
        let network = lab(&host).await;
        let gone = reached(&host, &network, "gone").await;
        host.local.at(commit, at);
        let controller = Arc::clone(host.controller());
        tokio::select! {
            _ = controller.endpoints.disconnect(gone.id, false) => panic!("it survives {at:?} {commit}"),
            () = host.local.death() => {}
        }
        drop(controller);
        host.kill();
        assert_eq!(host.kernel.flows().len(), 1, "{at:?} {commit}");
        host.start().await;
        host.flows_come_to(&[]).await;
    }
}

#[tokio::test]
async fn flows_of_who_has_the_address_now_survive_a_start() {
    let mut host = Host::alone().await;
    let network = lab(&host).await;
    let gone = reached(&host, &network, "gone").await;
    let disconnected = host.controller().endpoints.disconnect(gone.id, false).await;
    disconnected.unwrap();
    let sandbox = host.sandbox("next").await.unwrap();
    let wanted = Connect {
        ipv4: Some(gone.addresses.ipv4.unwrap().addr()),
        ..Connect::new(network.id, sandbox.id, "next".to_owned())
    };
    let next = host.controller().endpoints.connect(wanted).await.unwrap();
    assert_eq!(
        notes(&host).await,
        [gone.id.to_string()],
        "no commit took it along yet"
    );
    let flow = flow_to(address(&next));
    host.kernel.put_flow(flow);
    let walks = host.kernel.walks();
    host.kill();
    host.start().await;
    let other = reached(&host, &network, "other").await;
    host.controller()
        .endpoints
        .disconnect(other.id, false)
        .await
        .unwrap();
    host.flows_come_to(&[flow]).await;
    assert_eq!(host.kernel.walks(), walks + 1);
    assert_eq!(notes(&host).await, [other.id.to_string()]);
}

#[tokio::test]
async fn a_disconnect_that_fails_at_its_commit_forgets_all_the_same() {
    let host = Host::alone().await;
    let network = lab(&host).await;
    let gone = reached(&host, &network, "gone").await;
    host.local.at(1, At::Fails);
    let failed = host.controller().endpoints.disconnect(gone.id, false).await;
    assert!(failed.is_err());
    host.flows_come_to(&[]).await;
    host.sees("it gone", |snapshot| !snapshot.endpoints.contains_key(&gone.id))
        .await;
}
