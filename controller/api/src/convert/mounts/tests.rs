use super::*;

fn bind(source: &str, destination: &str, readonly: bool, propagation: &str) -> Mount {
    Mount::Bind {
        source: source.into(),
        destination: destination.into(),
        readonly,
        propagation: propagation.into(),
        below: Below::Alike,
        ours: false,
    }
}

fn host(text: serde_json::Value) -> HostConfig {
    serde_json::from_value(text).expect("a host configuration")
}

fn read(text: serde_json::Value) -> Answer<Mounts> {
    mounts(&Config::default(), &host(text))
}

#[test]
fn binds_have_a_source_a_destination_and_options() {
    for (text, wanted) in [
        ("/a:/b", bind("/a", "/b", false, "")),
        ("/a:/b/:ro", bind("/a", "/b", true, "")),
        ("/a:/b/../c:rw,z,rshared", bind("/a", "/c", false, "rshared")),
    ] {
        let source = Some(("/a".into(), Missing::Make));
        assert_eq!(parse_bind(text, None).expect(text), One::Mount(wanted, source));
    }
    for (text, says) in [
        ("/a", "invalid volume specification: '/a'"),
        ("/a:b", "mount path must be absolute"),
        ("/a:/", "destination can't be '/'"),
        ("/a:/b:what", "invalid mode: what"),
        ("/a:/b:nocopy", "invalid mode: nocopy"),
        ("data:/b:rshared", "invalid mode: rshared"),
        ("/a:/b:ro:x", "invalid volume specification"),
        (":/b", "invalid volume specification"),
        ("/a:/b:", "invalid volume specification"),
    ] {
        let refusal = parse_bind(text, None).expect_err(text);
        assert!(refusal.message().contains(says), "{text}: {}", refusal.message());
    }
}

#[test]
fn a_source_without_a_slash_in_front_is_a_volume() {
    let volume = |text: &str| match parse_bind(text, Some("local")).expect(text) {
        One::Volume(volume) => volume,
        One::Mount(..) => panic!("{text} is a volume"),
    };
    let plain = volume("data:/b");
    assert_eq!((plain.name.as_deref(), plain.mode.as_str()), (Some("data"), "z"));
    assert_eq!(plain.driver.as_deref(), Some("local"));
    let typed = volume("data:/b:ro,nocopy");
    assert!(typed.readonly && typed.nocopy && typed.mode == "ro,nocopy");
    assert_eq!(bind_mode("/a:/b:ro,z"), "ro,z");
    assert_eq!(bind_mode("/a:/b"), "");
}

#[test]
fn a_missing_source_is_made_for_v_and_refused_for_mount() {
    let all = read(serde_json::json!({
        "Binds": ["/a:/b"],
        "Mounts": [{"Type": "bind", "Source": "/c", "Target": "/d", "ReadOnly": true},
                   {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1024, "Mode": 448}}],
        "Tmpfs": {"/run": "size=64k,exec"}
    }))
    .expect("mounts");
    assert_eq!(
        all.sources,
        [("/a".into(), Missing::Make), ("/c".into(), Missing::Refuse)]
    );
    let tmpfs = |destination: &str, options: &[&str]| Mount::Tmpfs {
        destination: destination.into(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    };
    assert_eq!(
        all.mounts[1..],
        [
            bind("/c", "/d", true, ""),
            tmpfs("/t", &["size=1024", "mode=700"]),
            tmpfs("/run", &["size=64k", "exec"]),
        ]
    );
}

#[test]
fn the_long_form_of_a_volume_has_options_of_its_own() {
    let all = read(serde_json::json!({"Mounts": [
        {"Type": "volume", "Source": "data", "Target": "/x", "ReadOnly": true, "VolumeOptions": {"NoCopy": true,
         "Subpath": "a/b", "Labels": {"k": "v"}, "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs"}}}},
        {"Type": "volume", "Target": "/y"}
    ]}))
    .expect("volumes");
    let [named, anonymous] = &all.volumes.volumes[..] else {
        panic!("two volumes");
    };
    assert!(named.readonly && named.nocopy && named.labels["k"] == "v" && named.options["type"] == "tmpfs");
    assert_eq!(
        (named.subpath.as_deref(), named.driver.as_deref()),
        (Some(Path::new("a/b")), Some("local"))
    );
    assert_eq!((anonymous.name.as_deref(), anonymous.mode.as_str()), (None, ""));
}

#[test]
fn what_can_not_be_mounted_is_refused_in_dockers_words() {
    for (mount, says) in [
        (
            serde_json::json!({"Type": "odd", "Target": "/x"}),
            "invalid mount config for type \"odd\": mount type unknown",
        ),
        (
            serde_json::json!({"Type": "bind", "Target": "/x"}),
            "invalid mount config for type \"bind\": field Source must not be empty",
        ),
        (
            serde_json::json!({"Type": "bind", "Source": "a", "Target": "/x"}),
            "invalid mount path: 'a' mount path must be absolute",
        ),
        (
            serde_json::json!({"Type": "volume", "Source": "a"}),
            "field Target must not be empty",
        ),
        (
            serde_json::json!({"Type": "tmpfs", "Source": "a", "Target": "/x"}),
            "field Source must not be specified",
        ),
        (
            serde_json::json!({"Type": "volume", "Target": "/x", "BindOptions": {}}),
            "field BindOptions must not be specified",
        ),
        (
            serde_json::json!({"Type": "volume", "Source": "a", "Target": "/x", "VolumeOptions": {"Subpath": "../b"}}),
            "subpath must be a relative path within the volume",
        ),
    ] {
        let refusal = read(serde_json::json!({"Mounts": [mount]})).expect_err(says);
        assert!(refusal.message().contains(says), "{}", refusal.message());
    }
}

#[test]
fn two_mounts_at_one_place_are_refused_whatever_they_are() {
    for host in [
        serde_json::json!({"Binds": ["/a:/x", "/b:/x/"]}),
        serde_json::json!({"Binds": ["data:/x"], "Tmpfs": {"/x": ""}}),
        serde_json::json!({"Binds": ["data:/x"], "Mounts": [{"Type": "volume", "Target": "/x"}]}),
    ] {
        assert_eq!(
            read(host).expect_err("twice").message(),
            "Duplicate mount point: /x"
        );
    }
}

#[test]
fn places_of_anonymous_volumes_and_containers_to_share_with_are_told() {
    let config = Config {
        volumes: Some([("/data/".to_owned(), serde_json::json!({}))].into()),
        ..Config::default()
    };
    let host = host(serde_json::json!({"VolumesFrom": ["one", "two:ro"], "VolumeDriver": "local"}));
    let volumes = mounts(&config, &host).expect("volumes").volumes;
    assert_eq!(volumes.places, [PathBuf::from("/data")]);
    assert_eq!(
        volumes.from,
        [("one".to_owned(), false), ("two".to_owned(), true)]
    );
    assert_eq!(volumes.driver.as_deref(), Some("local"));
    assert!(volumes_from("one:odd").is_err() && volumes_from(":ro").is_err());
}
