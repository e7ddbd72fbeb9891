//! Networks that change while containers are on them, and networks made from templates.

use std::collections::BTreeMap;

use model::{AddressFamily, NetworkName, SubnetRequest};

use super::host::{Host, create};
use crate::{Connect, CreateNetwork, Error, NetworkChange};

fn name(text: &str) -> NetworkChange {
    NetworkChange {
        name: Some(NetworkName::new(text).unwrap()),
        ..NetworkChange::default()
    }
}

fn subnet(text: &str) -> SubnetRequest {
    SubnetRequest {
        subnet: Some(text.parse().unwrap()),
        ip_range: None,
        gateway: None,
        aux_addresses: BTreeMap::new(),
    }
}

#[tokio::test]
async fn a_network_gets_another_name_and_the_old_one_is_free() {
    let host = Host::alone().await;
    let lab = host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
    let web = host.sandbox("web").await.unwrap();
    let before = host.connect(lab.id, &web).await.unwrap();
    let networks = &host.controller().networks;
    networks
        .create(create("shop", "bridge", Some("10.2.0.0/24")))
        .await
        .unwrap();
    let taken = networks.update("lab", name("shop"), false).await.unwrap_err();
    assert!(matches!(taken, Error::Conflict { .. }), "{taken}");
    let shown = networks.update("lab", name("store"), true).await.unwrap();
    assert_eq!(shown.steps, ["~ network name: lab -> store"]);
    assert_eq!(
        networks.find("lab").unwrap().id,
        lab.id,
        "a dry run changes nothing"
    );
    let kernel = host.kernel.state();
    let changed = networks.update("lab", name("store"), false).await.unwrap();
    assert_eq!(changed.network.name.as_str(), "store");
    assert!(networks.find("lab").is_err());
    assert_eq!(networks.find("store").unwrap().id, lab.id);
    assert!(
        kernel == host.kernel.state(),
        "a name is none of the kernel's business"
    );
    let after = host.controller().endpoints.get(before.id).unwrap();
    assert_eq!(*after, *before);
    let overlap = networks
        .create(create("x", "bridge", Some("10.1.0.0/24")))
        .await
        .unwrap_err();
    assert!(overlap.to_string().contains("\"store\""), "{overlap}");
    networks
        .create(create("lab", "bridge", Some("10.3.0.0/24")))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_second_subnet_gives_addresses_when_the_first_is_used_up() {
    let host = Host::alone().await;
    let lab = host.network("lab", "bridge", Some("10.1.0.0/30")).await.unwrap();
    let (one, two) = (
        host.sandbox("one").await.unwrap(),
        host.sandbox("two").await.unwrap(),
    );
    host.connect(lab.id, &one).await.unwrap();
    host.connect(lab.id, &two).await.unwrap_err();
    let networks = &host.controller().networks;
    let more = NetworkChange {
        add_subnets: vec![subnet("10.2.0.0/24")],
        ..NetworkChange::default()
    };
    let shown = networks.update("lab", more.clone(), true).await.unwrap();
    assert!(
        shown
            .steps
            .iter()
            .any(|step| step.contains("+ address 10.2.0.1/24")),
        "{:?}",
        shown.steps
    );
    assert_eq!(networks.utilisation(lab.id).await.unwrap().len(), 1);
    networks.update("lab", more.clone(), false).await.unwrap();
    let endpoint = host.connect(lab.id, &two).await.unwrap();
    assert_eq!(endpoint.addresses.ipv4.unwrap().to_string(), "10.2.0.2/24");
    let used = networks.utilisation(lab.id).await.unwrap();
    let used: Vec<_> = used.iter().map(|pool| (pool.in_use, pool.available)).collect();
    assert_eq!(used, [(4, 0), (4, 252)]);
    let again = networks.update("lab", more, false).await.unwrap_err();
    assert!(matches!(again, Error::Forbidden { .. }), "{again}");
    for sandbox in [one, two] {
        host.controller().sandboxes.delete(sandbox.id).await.unwrap();
    }
    networks.delete("lab").await.unwrap();
    networks
        .create(create("next", "bridge", Some("10.2.0.0/24")))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_shared_network_is_renamed_for_every_host() {
    let cluster = store::memory::Memory::new();
    let (one, two) = (Host::of(1, &cluster).await, Host::of(2, &cluster).await);
    let lab = one.network("lab", "overlay", Some("10.1.0.0/24")).await.unwrap();
    one.controller()
        .networks
        .update("lab", name("store"), false)
        .await
        .unwrap();
    let mut snapshots = two.controller().snapshot();
    let seen = snapshots.wait_for(|snapshot| {
        let network = snapshot.networks.get(&lab.id);
        network.is_some_and(|network| network.name.as_str() == "store")
    });
    tokio::time::timeout(std::time::Duration::from_secs(10), seen)
        .await
        .expect("the other host sees it in time")
        .unwrap();
    let mtu = NetworkChange {
        mtu: Some(1400),
        ..NetworkChange::default()
    };
    let refused = one
        .controller()
        .networks
        .update("store", mtu, false)
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
}

fn template(text: &str) -> CreateNetwork {
    CreateNetwork {
        config_only: true,
        ..create(text, "bridge", Some("10.9.0.0/24"))
    }
}

fn made_from(text: &str, from: &str) -> CreateNetwork {
    CreateNetwork {
        config_from: Some(from.to_owned()),
        ..CreateNetwork::named(NetworkName::new(text).unwrap())
    }
}

#[tokio::test]
async fn a_template_is_no_network_and_one_is_made_from_it() {
    let host = Host::alone().await;
    let networks = &host.controller().networks;
    networks.create(template("plan")).await.unwrap();
    let plan = networks.find("plan").unwrap();
    assert!(plan.config_only && plan.pools.is_empty());
    let web = host.sandbox("web").await.unwrap();
    let refused = host.connect(plan.id, &web).await.unwrap_err();
    assert!(matches!(refused, Error::Forbidden { .. }), "{refused}");
    networks.create(made_from("lab", "plan")).await.unwrap();
    let lab = networks.find("lab").unwrap();
    assert_eq!(lab.config_from.as_ref().map(|name| name.as_str()), Some("plan"));
    let pool = lab.pools_of(AddressFamily::V4).next().unwrap();
    assert_eq!(pool.subnet.to_string(), "10.9.0.0/24");
    let in_use = networks.delete("plan").await.unwrap_err();
    assert_eq!(in_use.to_string(), "configuration network \"plan\" is in use");
    assert!(
        networks
            .prune(crate::PruneFilter::default())
            .await
            .unwrap()
            .iter()
            .all(|gone| !gone.config_only)
    );
    networks.delete("plan").await.unwrap();
}

#[tokio::test]
async fn what_does_not_go_with_a_template_is_refused() {
    let host = Host::alone().await;
    let networks = &host.controller().networks;
    networks.create(template("plan")).await.unwrap();
    networks.create(create("lab", "bridge", None)).await.unwrap();
    let rows = [
        (
            "internal",
            CreateNetwork {
                internal: true,
                ..template("x")
            },
        ),
        (
            "attachable",
            CreateNetwork {
                attachable: true,
                ..template("x")
            },
        ),
        (
            "a chain",
            CreateNetwork {
                config_from: Some("plan".to_owned()),
                ..template("x")
            },
        ),
        ("from no template", made_from("x", "lab")),
        ("from nobody", made_from("x", "nobody")),
        (
            "own subnets",
            CreateNetwork {
                config_from: Some("plan".to_owned()),
                ..create("x", "bridge", Some("10.8.0.0/24"))
            },
        ),
        (
            "ingress",
            CreateNetwork {
                ingress: true,
                ..create("x", "bridge", None)
            },
        ),
    ];
    for (what, request) in rows {
        let error = networks.create(request).await.expect_err(what);
        assert!(error.hint().is_some(), "{what}: {error}");
    }
}

#[tokio::test]
async fn everything_wrong_with_a_network_is_told_at_once() {
    let host = Host::alone().await;
    let mut request = create("lab", "bridge", Some("10.1.0.0/24"));
    request.ipam.subnets[0].gateway = Some("10.2.0.1".parse().unwrap());
    request.ipam.subnets[0].ip_range = Some("10.3.0.0/28".parse().unwrap());
    let error = host.controller().networks.create(request).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid network config:\nip-range 10.3.0.0/28 is outside of the subnet 10.1.0.0/24\n\
         gateway 10.2.0.1 is outside of the subnet 10.1.0.0/24"
    );
    let connect = Connect::new(
        host.network("ok", "bridge", None).await.unwrap().id,
        host.sandbox("web").await.unwrap().id,
        "web",
    );
    host.controller().endpoints.connect(connect).await.unwrap();
}

#[tokio::test]
async fn a_family_that_comes_with_a_subnet_is_for_those_who_come_after_it() {
    let host = Host::alone().await;
    let lab = host.network("lab", "bridge", Some("10.1.0.0/24")).await.unwrap();
    let (one, two) = (
        host.sandbox("one").await.unwrap(),
        host.sandbox("two").await.unwrap(),
    );
    let before = host.connect(lab.id, &one).await.unwrap();
    let more = NetworkChange {
        add_subnets: vec![subnet("fd00:1::/64")],
        ..NetworkChange::default()
    };
    let networks = &host.controller().networks;
    let shown = networks.update("lab", more.clone(), true).await.unwrap();
    let line = "~ network IPv6: off -> on, for containers that start or connect from now on";
    assert!(shown.steps.iter().any(|step| step == line), "{:?}", shown.steps);
    let changed = networks.update("lab", more, false).await.unwrap();
    assert!(changed.network.enable_ipv6);
    let endpoints = &host.controller().endpoints;
    assert_eq!(
        *endpoints.get(before.id).unwrap(),
        *before,
        "who is there stays as he is"
    );
    let after = host.connect(lab.id, &two).await.unwrap();
    assert!(after.addresses.ipv4.is_some() && after.addresses.ipv6.is_some());
    endpoints.disconnect(before.id, false).await.unwrap();
    let again = host.connect(lab.id, &one).await.unwrap();
    assert_eq!(again.addresses.ipv4, before.addresses.ipv4);
    assert!(again.addresses.ipv6.is_some());
}
