use serde_json::{Value, json};

use super::*;
use crate::decode;

fn sent<C: Call>(call: &C) -> (String, Value) {
    let body = call.body();
    assert_eq!(body.last(), Some(&b'\n'));
    (C::METHOD.to_owned(), serde_json::from_slice(&body).expect("JSON"))
}

/// As dockerd sends them: see `tests/golden/plugins/volumes-*.txt`.
#[test]
fn requests_are_docker_s_field_for_field() {
    let name = || "v".to_owned();
    let opts = [("size".to_owned(), "1G".to_owned())].into();
    let rows = [
        (
            sent(&Create { name: name(), opts }),
            "Create",
            json!({"Name": "v", "Opts": {"size": "1G"}}),
        ),
        (sent(&Remove { name: name() }), "Remove", json!({"Name": "v"})),
        (sent(&Path { name: name() }), "Path", json!({"Name": "v"})),
        (sent(&Get { name: name() }), "Get", json!({"Name": "v"})),
        (
            sent(&Mount {
                name: name(),
                id: "i".to_owned(),
            }),
            "Mount",
            json!({"Name": "v", "ID": "i"}),
        ),
        (
            sent(&Unmount {
                name: name(),
                id: "i".to_owned(),
            }),
            "Unmount",
            json!({"Name": "v", "ID": "i"}),
        ),
        (sent(&List {}), "List", json!({})),
        (sent(&GetCapabilities {}), "Capabilities", json!({})),
    ];
    for ((method, body), wanted, fields) in rows {
        assert_eq!(method, format!("VolumeDriver.{wanted}"));
        assert_eq!(body, fields, "{wanted}");
    }
}

#[test]
fn replies_are_read_as_plugins_write_them() {
    let found: Found = decode(
        br#"{"volume":{"name":"v","Mountpoint":"/m","CreatedAt":"2026-01-02T03:04:05Z","Status":{"name":7}},"Err":""}"#,
    )
    .expect("a volume");
    let volume = found.volume.expect("a volume");
    assert_eq!((volume.name.as_str(), volume.mountpoint.as_str()), ("v", "/m"));
    assert_eq!(volume.created_at, "2026-01-02T03:04:05Z");
    assert_eq!(volume.status["name"], 7, "its own names stay as they are");
    for none in [&b"{}"[..], b"{\"Volume\":null}"] {
        assert_eq!(decode::<Found>(none).expect("nothing").volume, None);
    }
    let all: Listed =
        decode(br#"{"Volumes":[{"Name":"a"},null,{"Name":"b","Mountpoint":null}]}"#).expect("volumes");
    let names: Vec<_> = all.volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(
        decode::<Listed>(b"{\"Volumes\":null}")
            .expect("none")
            .volumes
            .is_empty()
    );
    for (body, global) in [
        (r#"{"Capabilities":{"Scope":"Global"}}"#, true),
        (r#"{"Capabilities":{"Scope":"local"}}"#, false),
        (r#"{"Capabilities":null}"#, false),
        ("{}", false),
    ] {
        let capable: Capable = decode(body.as_bytes()).expect("capabilities");
        assert_eq!(capable.capabilities.is_global(), global, "{body}");
    }
    assert!(decode::<Mounted>(b"{\"Mountpoint\":7}").is_err());
}
