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
    let config = config(json!({"live-restore": true}), r#"{"storage-driver": "overlay2"}"#).expect("taken");
    assert_eq!(config.ignored, ["storage-driver", "live-restore"]);
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
            "this version listens on unix sockets only",
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
