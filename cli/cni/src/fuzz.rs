//! What runtimes and the daemon say.

use fuzz::run;
use serde_json::Value;

use crate::{
    config::Config, daemon, environment::Environment, failure::Failure, outcome::Outcome, version::Version,
};

const HERE: &str = env!("CARGO_MANIFEST_DIR");
/// One with everything in it.
const FULL: &[u8] = br#"{"cniVersion": "1.1.0", "name": "podnet", "type": "cnm-cni", "network": "lan", "ipam": {},
    "options": {"a": 1}, "aliases": ["b"], "dns": {"nameservers": ["9.9.9.9"], "search": ["c"]}, "gatewayPriority": 3,
    "args": {"cni": {"ips": ["fd00::7"]}}, "runtimeConfig": {"ips": ["10.0.0.7/24"], "mac": "02:00:00:00:00:07",
    "aliases": {"podnet": ["d"]}, "portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "tcp"}]},
    "prevResult": {"cniVersion": "1.1.0", "interfaces": [{"name": "eth9", "sandbox": "/run/netns/x"}],
    "ips": [{"address": "10.9.0.2/24", "interface": 0}], "routes": [{"dst": "0.0.0.0/0"}], "dns": {"domain": "e"}},
    "cni.dev/valid-attachments": [{"containerID": "f", "ifname": "eth0"}]}"#;
/// The least.
const LEAST: &[u8] =
    br#"{"cniVersion":"0.3.0","name":"lan","prevResult":{"ips":[{"version":"4","address":"10.9.0.2/24"}]}}"#;

#[test]
fn configurations() {
    let made = Outcome {
        interface: "eth0".to_owned(),
        addresses: vec![("10.0.0.2/24".to_owned(), String::new())],
        ..Outcome::default()
    };
    run("configurations", HERE, &[FULL, LEAST], |bytes| {
        // Whatever it is, a failure can be told in its version.
        let told = Failure::new(crate::Code::Undecodable, "no").to_json(bytes);
        assert!(serde_json::from_str::<Value>(&told).is_ok_and(|told| told["code"] == 6));
        let config = Config::parse(bytes).map_err(|failure| failure.code)?;
        for version in Version::ALL {
            let Ok(result) = made.to_json(version, config.previous.as_ref()) else {
                continue;
            };
            assert_eq!(result["cniVersion"], version.as_str());
            let interfaces = result["interfaces"].as_array().map_or(0, Vec::len);
            let own = result["ips"]
                .as_array()
                .and_then(|ips| ips.last())
                .expect("an address");
            assert_eq!(
                own["interface"],
                interfaces - 1,
                "the address is on the interface"
            );
        }
        Ok::<_, crate::Code>((
            config.version,
            config.valid.is_some(),
            config.ports.len(),
            config.previous.is_some(),
        ))
    });
}

#[test]
fn arguments() {
    let good: [&[u8]; 2] = [
        b"IgnoreUnknown=1;K8S_POD_NAME=web;K8S_POD_NAMESPACE=shop;IP=10.0.0.9/24,fd00::9;MAC=02:00:00:00:00:01",
        b"IP=1",
    ];
    run("arguments", HERE, &good, |bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let environment = Environment::read(|_| Some(text.clone()));
        let found = environment.arguments().ok();
        let known = [
            environment.container().is_ok(),
            environment.interface().is_ok_and(|name| name.len() < 16),
            environment.netns().is_ok(),
            environment.command().is_ok(),
        ];
        (
            known,
            found.map(|found| (found.addresses.len(), found.pod.is_some(), found.mac.is_some())),
        )
    });
}

#[test]
fn answers() {
    let good: [&[u8]; 2] = [
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.0 404\r\n\r\n{\"message\": \"no (hint: yes)\"}",
    ];
    run("answers", HERE, &good, |bytes| {
        let (status, body) = daemon::parse(bytes)?;
        let failure = daemon::Silence::Refused {
            status,
            message: daemon::message(body),
        }
        .into_failure();
        Some((status / 100, failure.code, body.is_empty()))
    });
}
