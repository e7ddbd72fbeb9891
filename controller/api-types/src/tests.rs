//! The shapes that clients look at: absent, `null` and empty are three different things.

use serde_json::{Value, json};

use crate::*;

fn written<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("messages are JSON")
}

#[test]
fn a_null_or_missing_or_unknown_field_is_no_error() {
    let text = r#"{"Hostname":null,"Cmd":null,"Image":"busybox","Nobody":1,"HostConfig":null,
                   "NetworkingConfig":{"EndpointsConfig":{"net":null}}}"#;
    let create: Create = serde_json::from_str(text).expect("a request");
    assert_eq!(create.config.image, "busybox");
    assert_eq!(create.host_config, HostConfig::default());
    assert_eq!(create.networking_config.endpoints_config["net"], None);
}

#[test]
fn a_command_may_be_one_string() {
    let config: Config = serde_json::from_str(r#"{"Cmd":"top","Entrypoint":["sh","-c"]}"#).expect("a config");
    assert_eq!(config.cmd, Some(vec!["top".to_owned()].into()));
    assert_eq!(written(&config)["Cmd"], json!(["top"]));
}

#[test]
fn an_empty_network_writes_its_objects_and_leaves_peers_out() {
    let network = written(&Network::default());
    assert_eq!(network["Containers"], json!({}));
    assert_eq!(network["Options"], json!({}));
    assert_eq!(network["Labels"], json!({}));
    assert_eq!(network["ConfigFrom"], json!({"Network": ""}));
    assert_eq!(
        network["IPAM"],
        json!({"Driver": "", "Options": null, "Config": null})
    );
    assert!(network.get("Peers").is_none());
    assert_eq!(
        written(&IpamPool {
            subnet: "10.0.0.0/24".into(),
            ..Default::default()
        }),
        json!({"Subnet": "10.0.0.0/24"})
    );
}

#[test]
fn an_endpoint_without_wishes_writes_nulls() {
    let endpoint = written(&EndpointSettings::default());
    for null in ["IPAMConfig", "Links", "Aliases", "DriverOpts", "DNSNames"] {
        assert_eq!(endpoint[null], Value::Null, "{null}");
        assert!(endpoint.get(null).is_some(), "{null}");
    }
    for name in [
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "NetworkID",
        "EndpointID",
        "GwPriority",
        "MacAddress",
        "Gateway",
    ] {
        assert!(endpoint.get(name).is_some(), "{name}");
    }
}

#[test]
fn a_configuration_leaves_out_what_docker_leaves_out() {
    let config = written(&Config::default());
    for absent in [
        "ExposedPorts",
        "Healthcheck",
        "NetworkDisabled",
        "StopSignal",
        "StopTimeout",
        "Shell",
        "MacAddress",
    ] {
        assert!(config.get(absent).is_none(), "{absent}");
    }
    for null in ["Env", "Cmd", "Entrypoint", "Volumes", "OnBuild"] {
        assert_eq!(config.get(null), Some(&Value::Null), "{null}");
    }
    assert_eq!(config["Labels"], json!({}));
    let host = written(&HostConfig::default());
    for null in [
        "Binds",
        "CapAdd",
        "MaskedPaths",
        "PidsLimit",
        "OomKillDisable",
        "PortBindings",
        "BlkioDeviceReadIOps",
    ] {
        assert_eq!(host.get(null), Some(&Value::Null), "{null}");
    }
    for absent in ["Mounts", "Init", "Sysctls", "Tmpfs", "Runtime"] {
        assert!(host.get(absent).is_none(), "{absent}");
    }
    assert_eq!(host["ConsoleSize"], json!([0, 0]));
    assert_eq!(host["UTSMode"], json!(""));
}

#[test]
fn an_error_is_one_message() {
    assert_eq!(
        written(&ErrorMessage { message: "no".into() }),
        json!({"message": "no"})
    );
}

#[test]
fn an_event_writes_the_old_fields_only_where_they_are() {
    let event = written(&EventMessage {
        r#type: "network".into(),
        action: "create".into(),
        ..Default::default()
    });
    assert!(event.get("status").is_none() && event.get("id").is_none() && event.get("from").is_none());
    assert_eq!(event["Actor"], json!({"ID": "", "Attributes": {}}));
    assert!(event.get("timeNano").is_some() && event.get("scope").is_some());
}
