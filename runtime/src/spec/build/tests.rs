use super::*;

fn config() -> ContainerConfig {
    ContainerConfig {
        hostname: "box".into(),
        cmd: Some(vec!["sh".into()]),
        ..Default::default()
    }
}

fn built(config: &ContainerConfig) -> Result<Value, SpecError> {
    let place = Place {
        rootfs: "/r".into(),
        cgroup: "/cnm/x".into(),
        users: None,
    };
    let spec = build(
        config,
        &ImageDefaults::default(),
        &place,
        &User::root(),
        &[],
        &HostFacts::powerful(),
    )?;
    Ok(serde_json::to_value(spec).unwrap())
}

#[test]
fn the_default_container_is_dockers() {
    let spec = built(&config()).unwrap();
    assert_eq!(spec["hostname"], "box");
    assert_eq!(
        spec["process"]["capabilities"]["bounding"]
            .as_array()
            .unwrap()
            .len(),
        14
    );
    assert_eq!(spec["process"]["capabilities"].get("inheritable"), None);
    assert_eq!(spec["process"]["capabilities"].get("ambient"), None);
    assert_eq!(spec["process"].get("noNewPrivileges"), None);
    assert_eq!(
        spec["linux"]["sysctl"]["net.ipv4.ping_group_range"],
        "0 2147483647"
    );
    assert_eq!(spec["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    let types: Vec<_> = spec["linux"]["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["type"])
        .collect();
    assert_eq!(types, ["mount", "network", "pid", "ipc", "uts", "cgroup"]);
    assert!(
        spec["linux"]["maskedPaths"]
            .as_array()
            .unwrap()
            .contains(&json!("/proc/kcore"))
    );
}

#[test]
fn a_privileged_container_has_no_filter_and_nothing_hidden() {
    let spec = built(&ContainerConfig {
        privileged: true,
        ..config()
    })
    .unwrap();
    assert_eq!(
        spec["process"]["capabilities"]["bounding"]
            .as_array()
            .unwrap()
            .len(),
        41
    );
    assert_eq!(spec["linux"].get("seccomp"), None);
    assert_eq!(spec["linux"].get("maskedPaths"), None);
    assert_eq!(spec["linux"]["resources"]["devices"][0]["allow"], true);
}

#[test]
fn a_network_is_joined_by_its_path_and_the_hosts_by_saying_nothing() {
    let network = |network| built(&ContainerConfig { network, ..config() }).unwrap()["linux"].clone();
    let joined = network(Namespace::Path("/run/netns/x".into()));
    assert_eq!(
        joined["namespaces"][1],
        json!({"type": "network", "path": "/run/netns/x"})
    );
    assert_eq!(joined["sysctl"]["net.ipv4.ip_unprivileged_port_start"], "0");
    let host = network(Namespace::Host);
    assert!(
        host["namespaces"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["type"] != "network")
    );
    assert!(
        host.get("sysctl")
            .is_none_or(|all| all.as_object().unwrap().is_empty())
    );
}

#[test]
fn a_parameter_of_the_hosts_is_refused() {
    let with = |name: &str, network| {
        built(&ContainerConfig {
            network,
            sysctls: [(name.to_owned(), "1".to_owned())].into(),
            ..config()
        })
    };
    assert!(with("net.core.somaxconn", Namespace::Own).is_ok());
    assert!(with("kernel.shmmax", Namespace::Own).is_ok());
    assert_eq!(
        with("net.core.somaxconn", Namespace::Host),
        Err(SpecError::Sysctl("net.core.somaxconn".into()))
    );
    assert_eq!(
        with("vm.swappiness", Namespace::Own),
        Err(SpecError::Sysctl("vm.swappiness".into()))
    );
}

#[test]
fn protection_from_the_memory_killer_is_not_better_than_our_own() {
    let weak = HostFacts {
        may_raise_limits: false,
        oom_score_adj: 0,
        ..HostFacts::powerful()
    };
    assert_eq!(oom_score_adj(-500, &weak), Ok(0));
    assert_eq!(oom_score_adj(500, &weak), Ok(500));
    assert_eq!(oom_score_adj(-500, &HostFacts::powerful()), Ok(-500));
    assert!(oom_score_adj(1001, &weak).is_err());
}
