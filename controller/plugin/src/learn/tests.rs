use serde_json::json;

use super::*;

/// As dockerd 20.10 and 28 tell it, shortened to what is read.
#[test]
fn names_are_those_by_which_docker_itself_finds_a_container() {
    let (id, endpoint) = ("ab".repeat(32), EndpointId::random());
    let told = |network: Value| {
        json!({
            "Id": id, "Name": "/web", "Config": {"Hostname": "abababababab"},
            "NetworkSettings": {"Networks": {"ol1": network, "other": {"EndpointID": ""}}}
        })
    };
    let rows = [
        (
            json!({"EndpointID": endpoint.to_string(), "Aliases": ["www", "abababababab"]}),
            vec!["web", "www", "abababababab"],
        ),
        (
            json!({"EndpointID": endpoint.to_string(), "Aliases": ["www"], "DNSNames": ["web", "www", "abababababab"]}),
            vec!["web", "www", "abababababab"],
        ),
        (
            json!({"EndpointID": endpoint.to_string(), "Aliases": null}),
            vec!["web", "abababababab"],
        ),
    ];
    for (network, expected) in rows {
        let names = names(&told(network));
        let [(found, learnt)] = &names[..] else {
            panic!("not one endpoint: {names:?}");
        };
        assert_eq!((*found, &*learnt.name), (endpoint, "web"));
        assert_eq!(learnt.container.map(|id| id.to_string()), Some(id.clone()));
        assert_eq!(learnt.dns_names, expected);
    }
    assert!(names(&json!({})).is_empty());
}

#[test]
fn a_container_that_starts_connects_or_is_renamed_is_asked_about() {
    let event = |kind: &str, action: &str| json!({"Type": kind, "Action": action, "Actor": {"ID": "c", "Attributes": {"container": "d"}}});
    let rows = [
        ("container", "start", Some("c")),
        ("container", "rename", Some("c")),
        ("container", "exec_start: sh", None),
        ("container", "die", None),
        ("network", "connect", Some("d")),
        ("network", "disconnect", None),
    ];
    for (kind, action, expected) in rows {
        assert_eq!(concerned(&event(kind, action)), expected, "{kind} {action}");
    }
    assert_eq!(concerned(&json!({"status": "odd"})), None);
}
