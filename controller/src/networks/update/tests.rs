use model::{DriverName, Labels, NetworkName, Timestamp};

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn network() -> Network {
    Network {
        id: NetworkId::from_bytes([0xab; 32]),
        name: NetworkName::new("lab").unwrap(),
        driver: DriverName::new("bridge").unwrap(),
        scope: Scope::Local,
        lifecycle: Lifecycle::Active,
        created: Timestamp::ZERO,
        labels: labels(&[("a", "1"), ("b", "2")]),
        options: Labels::new(),
        enable_ipv4: true,
        enable_ipv6: false,
        internal: false,
        attachable: false,
        predefined: false,
        ipam: super::super::CreateNetwork::named(NetworkName::new("lab").unwrap()).ipam,
        pools: Vec::new(),
        vnis: Vec::new(),
        config_only: false,
        config_from: None,
        found: None,
    }
}

#[test]
fn what_changes_of_the_record_is_told_line_by_line() {
    let change = NetworkChange {
        name: Some(NetworkName::new("shop").unwrap()),
        labels: Some(labels(&[("a", "9"), ("c", "3")])),
        mtu: Some(1400),
        icc: Some(false),
        ..NetworkChange::default()
    };
    let before = network();
    let after = changed(&before, &change);
    assert_eq!(
        lines(&before, &after, &[]),
        [
            "~ network name: lab -> shop",
            "~ network label a: 1 -> 9",
            "+ network label c=3",
            "- network label b",
            "+ network option com.docker.network.bridge.enable_icc=false",
            "+ network option com.docker.network.driver.mtu=1400",
        ]
    );
    assert_eq!(changed(&after, &NetworkChange::default()), after);
}

#[test]
fn what_can_not_change_is_refused() {
    let mtu = NetworkChange {
        mtu: Some(1400),
        ..NetworkChange::default()
    };
    let name = |text: &str| NetworkChange {
        name: Some(NetworkName::new(text).unwrap()),
        ..NetworkChange::default()
    };
    let with = |edit: fn(&mut Network)| {
        let mut network = network();
        edit(&mut network);
        network
    };
    assert!(refuse(&network(), &mtu).is_ok());
    assert!(refuse(&network(), &name("web")).is_ok());
    let rows = [
        ("predefined", with(|n| n.predefined = true), name("web")),
        ("a reserved name", network(), name("host")),
        ("a shared network", with(|n| n.scope = Scope::Global), mtu.clone()),
        ("a template", with(|n| n.config_only = true), mtu),
    ];
    for (what, network, change) in rows {
        let error = refuse(&network, &change).unwrap_err();
        assert!(error.hint().is_some(), "{what}: {error}");
    }
    assert!(refuse(&with(|n| n.scope = Scope::Global), &name("web")).is_ok());
}
