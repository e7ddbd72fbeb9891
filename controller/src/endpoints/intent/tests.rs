//! Names of endpoints.

use model::{
    ContainerId, DnsConfig, DnsPorts, NetworkId, NodeId, Sandbox, SandboxId, SandboxKind, Timestamp,
};

use super::*;

fn sandbox(hostname: &str, container: Option<ContainerId>) -> Sandbox {
    Sandbox {
        id: SandboxId::random(),
        container,
        node: NodeId::random(),
        lifecycle: Lifecycle::Active,
        created: Timestamp::ZERO,
        kind: SandboxKind::Host,
        hostname: hostname.to_owned(),
        domainname: String::new(),
        dns: DnsConfig::default(),
        extra_hosts: Vec::new(),
        files: "files".into(),
        dns_ports: DnsPorts { udp: 1, tcp: 2 },
        ports: Vec::new(),
        exposed: Vec::new(),
        links: Vec::new(),
    }
}

#[test]
fn names_are_the_containers_then_aliases_then_short_id_then_hostname_each_once() {
    let container = ContainerId::from_bytes([0xab; 32]);
    let request = |name: &str, aliases: &[&str]| {
        let mut request = Connect::new(NetworkId::random(), SandboxId::random(), name);
        request.aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        request
    };
    let rows: [(&str, Connect, Sandbox, &[&str]); 4] = [
        ("a name alone", request("web", &[]), sandbox("", None), &["web"]),
        (
            "everything",
            request("web", &["www", "site"]),
            sandbox("host", Some(container)),
            &["web", "www", "site", "abababababab", "host"],
        ),
        (
            "the short id is the hostname, as by default",
            request("web", &[]),
            sandbox("abababababab", Some(container)),
            &["web", "abababababab"],
        ),
        (
            "an alias that is the name",
            request("web", &["web"]),
            sandbox("web", None),
            &["web"],
        ),
    ];
    for (told, request, sandbox, expected) in rows {
        assert_eq!(dns_names(&request, &sandbox), expected, "{told}");
    }
}
