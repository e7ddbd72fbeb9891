//! Tables of configurations that hold and that don't.

use serde_json::json;

use super::*;

fn config(flags: Value, text: &str) -> Result<Config, ConfigError> {
    let Value::Object(flags) = flags else {
        panic!("flags are an object")
    };
    decide(Persona::Cnmd, &flags, Path::new("/etc/cnm/daemon.json"), text)
}

#[test]
fn nothing_given_means_the_documented_defaults() {
    let config = config(json!({}), "").expect("defaults hold");
    assert_eq!(config.listen, [Listen::Unix("/run/cnm/cnm.sock".into())]);
    assert_eq!(config.data_root, Path::new("/var/lib/cnm"));
    assert_eq!(config.exec_root, Path::new("/run/cnm"));
    assert_eq!(config.bridge.device.as_deref(), Some("cnm0"));
    assert!(config.bridge.icc && config.bridge.masquerade);
}

#[test]
fn called_dockerd_it_takes_dockers_socket_and_bridge() {
    assert_eq!(Persona::of("/usr/bin/dockerd"), Persona::Dockerd);
    let config = decide(Persona::Dockerd, &Map::new(), Path::new("x"), "").expect("defaults hold");
    assert_eq!(config.listen, [Listen::Unix("/run/docker.sock".into())]);
    assert_eq!(config.bridge.device.as_deref(), Some("docker0"));
    assert_eq!(config.data_root, Path::new("/var/lib/cnm"), "the data stays ours");
}

#[test]
fn the_cluster_walkthroughs_file_is_understood() {
    let text = r#"{"cluster-store": "consul://10.0.0.13:8500", "cluster-advertise": "10.0.0.12:2376"}"#;
    let config = config(json!({}), text).expect("the walkthrough's file holds");
    assert_eq!(config.cluster_store.as_deref(), Some("consul://10.0.0.13:8500"));
    assert_eq!(
        config.cluster_advertise,
        Some(Advertise::Address([10, 0, 0, 12].into()))
    );
}

#[test]
fn an_advertised_interface_may_carry_a_port() {
    for text in ["eth1", "eth1:2376"] {
        let name = InterfaceName::new("eth1").expect("a name");
        assert_eq!(advertise(text).expect(text), Advertise::Interface(name));
    }
    assert_eq!(
        advertise("[fd00::1]:2376").expect("v6"),
        Advertise::Address("fd00::1".parse().expect("v6"))
    );
}

#[test]
fn dockerds_own_keys_are_taken_and_named() {
    let config = config(
        json!({"selinux-enabled": true}),
        r#"{"storage-driver": "overlay2"}"#,
    )
    .expect("taken");
    assert_eq!(config.ignored, ["storage-driver", "selinux-enabled"]);
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let rows = [
        (
            json!({}),
            r#"{"cluster-stor": "x"}"#,
            "unknown key \"cluster-stor\", did you mean \"cluster-store\"?",
        ),
        (
            json!({"mtu": 1400}),
            r#"{"mtu": 1500}"#,
            "mtu is given both as a flag and in /etc/cnm/daemon.json",
        ),
        (json!({}), "{", "EOF while parsing"),
        (json!({}), r#"{"mtu": "big"}"#, "mtu: invalid type"),
        (json!({"mtu": 10}), "", "mtu: 10 is out of range"),
        (
            json!({"bip": "172.17.0.0/16"}),
            "",
            "bip: 172.17.0.0/16 is a subnet",
        ),
        (
            json!({"bip": "10.1.0.1/16", "fixed-cidr": "10.2.0.0/24"}),
            "",
            "fixed-cidr: 10.2.0.0/24 lies outside",
        ),
        (
            json!({"bridge": "br0", "bip": "10.1.0.1/16"}),
            "",
            "bip: can't be given together",
        ),
        (
            json!({"hosts": ["tcp://0.0.0.0:2375"]}),
            "",
            "makes everybody root who can reach it",
        ),
        (json!({"hosts": ["unix://relative"]}), "", "no absolute path"),
        (
            json!({"data-root": "here"}),
            "",
            "data-root: here is not an absolute path",
        ),
        (json!({"log-level": "loud"}), "", "log-level: \"loud\" is none of"),
        (
            json!({"default-address-pools": [{"base": "10.0.0.0/16", "size": 8}]}),
            "",
            "size 8 does not cut",
        ),
        (
            json!({"default-address-pools": [{"base": "10.0.0.1/16", "size": 24}]}),
            "",
            "host bits",
        ),
        (
            json!({"cluster-advertise": "not a name"}),
            "",
            "neither ADDRESS[:PORT] nor INTERFACE[:PORT]",
        ),
    ];
    for (flags, text, expected) in rows {
        let error = config(flags.clone(), text).expect_err(expected).to_string();
        assert!(
            error.contains(expected),
            "{flags} {text}: {error:?} lacks {expected:?}"
        );
        assert!(!error.contains('\n'), "{error:?} is one line");
    }
}

#[test]
fn the_default_bridge_takes_everything_that_dockers_does() {
    let flags = json!({
        "bip": "10.5.0.1/16", "fixed-cidr": "10.5.7.0/24", "default-gateway": "10.5.0.254",
        "ipv6": true, "bip6": "fd05::1/64", "fixed-cidr-v6": "fd05::7:0/112", "default-gateway-v6": "fd05::fe",
        "icc": false, "ip-masq": false, "mtu": 1400, "ip": "192.0.2.7", "ip-forward": false, "iptables": false,
        "firewall-backend": "iptables", "firewall": "host",
        "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1300"}},
    });
    let config = config(flags, "").expect("all of it holds");
    let bridge = &config.bridge;
    assert_eq!(
        bridge.address.map(|net| net.to_string()).as_deref(),
        Some("10.5.0.1/16")
    );
    assert_eq!(
        bridge.address_v6.map(|net| net.to_string()).as_deref(),
        Some("fd05::1/64")
    );
    assert_eq!(
        bridge.range_v6.map(|net| net.to_string()).as_deref(),
        Some("fd05::7:0/112")
    );
    assert_eq!(bridge.gateways.len(), 2);
    assert!(bridge.ipv6 && !bridge.adopted && !bridge.icc && !bridge.masquerade);
    assert_eq!(config.host_ip, Some([192, 0, 2, 7].into()));
    assert!(!config.ip_forward && !config.firewall);
    assert_eq!(config.firewall_backend, FirewallBackend::Iptables);
    assert_eq!(config.exposure, Exposure::Host);
    assert_eq!(config.network_options["bridge"].len(), 1);
    assert_eq!(config.ignored, Vec::<String>::new());
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
}

#[test]
fn an_adopted_bridge_and_none_are_told_apart() {
    let adopted = config(json!({"bridge": "br0"}), "").expect("a bridge").bridge;
    assert!(adopted.adopted && adopted.device.as_deref() == Some("br0"));
    let none = config(json!({"bridge": "none"}), "").expect("no bridge").bridge;
    assert!(!none.adopted && none.device.is_none());
    let usual = config(json!({"bridge": ""}), "").expect("the usual one").bridge;
    assert!(!usual.adopted && usual.device.as_deref() == Some("cnm0"));
}

#[test]
fn what_does_not_go_together_on_the_default_bridge_is_refused_with_its_key() {
    let rows = [
        (json!({"bridge": "br0", "bip": "10.0.0.1/24"}), "bip"),
        (json!({"bridge": "br0", "bip6": "fd00::1/64"}), "bip6"),
        (json!({"bip": "10.0.0.0/24"}), "bip"),
        (json!({"bip": "fd00::1/64"}), "bip"),
        (json!({"bip6": "10.0.0.1/24"}), "bip6"),
        (
            json!({"bip": "10.0.0.1/24", "fixed-cidr": "10.0.1.0/25"}),
            "fixed-cidr",
        ),
        (json!({"fixed-cidr": "fd00::/64"}), "fixed-cidr"),
        (json!({"fixed-cidr-v6": "10.0.0.0/24"}), "fixed-cidr-v6"),
        (
            json!({"bip": "10.0.0.1/24", "default-gateway": "10.0.1.1"}),
            "default-gateway",
        ),
        (json!({"default-gateway-v6": "10.0.1.1"}), "default-gateway-v6"),
        (json!({"mtu": 67}), "mtu"),
        (json!({"firewall-backend": "pf"}), "firewall-backend"),
        (json!({"firewall": "closed"}), "firewall"),
        (
            json!({"default-network-opts": {"brige": {}}}),
            "default-network-opts",
        ),
        (json!({"ip": "localhost"}), "ip"),
    ];
    for (flags, key) in rows {
        match config(flags.clone(), "") {
            Err(ConfigError::BadValue { key: found, .. }) => assert_eq!(found, key, "{flags}"),
            other => panic!("{flags}: {other:?}"),
        }
    }
}

#[test]
fn what_does_less_than_it_says_is_warned_of() {
    let rows = [
        (json!({"userland-proxy": false}), "no proxy process"),
        (json!({"userland-proxy": true}), ""),
        (json!({"ip6tables": false}), "follow iptables"),
        (json!({"bip6": "fd00::1/64"}), "bip6 has no effect without ipv6"),
        (json!({"iptables": false}), "nothing is published"),
        (json!({"bridge": "none", "icc": false}), "no default bridge"),
    ];
    for (flags, wanted) in rows {
        let warnings = config(flags.clone(), "").expect("it holds").warnings;
        match wanted {
            "" => assert!(warnings.is_empty(), "{flags}: {warnings:?}"),
            _ => assert!(
                warnings.iter().any(|line| line.contains(wanted)),
                "{flags}: {warnings:?}"
            ),
        }
    }
}
