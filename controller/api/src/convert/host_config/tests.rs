use serde_json::json;

use engine::record::LogSettings;

use super::*;
use crate::convert::log::log;

fn host(json: serde_json::Value) -> HostConfig {
    serde_json::from_value(json).expect("a host configuration")
}

fn applied(json: serde_json::Value) -> Answer<ContainerConfig> {
    let mut run = ContainerConfig::default();
    apply(&host(json), &mut run).map(|()| run)
}

#[test]
fn zero_is_no_limit() {
    let run = applied(json!({"Memory": 0, "MemorySwap": 0, "PidsLimit": 0, "NanoCpus": 0, "MemorySwappiness": -1, "ShmSize": 0}))
        .expect("nothing asked");
    assert_eq!(run.resources, Resources::default());
    assert_eq!(run.shm_size, None);
}

#[test]
fn limits_reach_the_runtime() {
    let run = applied(json!({
        "Memory": 524_288_000, "MemorySwap": -1, "NanoCpus": 1_500_000_000u64, "CpusetCpus": "0-1", "PidsLimit": 100,
        "Devices": [{"PathOnHost": "/dev/null"}], "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
        "SecurityOpt": ["no-new-privileges", "seccomp=unconfined", "label=disable"], "PidMode": "host",
        "CapAdd": ["NET_ADMIN"], "Sysctls": {"net.ipv4.ip_forward": "1"}
    }))
    .expect("good limits");
    assert_eq!(run.resources.memory, Some(524_288_000));
    assert_eq!(run.resources.memory_swap, Some(-1));
    assert_eq!(run.resources.pids_limit, Some(100));
    assert_eq!(run.devices[0].container, std::path::Path::new("/dev/null"));
    assert_eq!(run.devices[0].permissions, "rwm");
    assert!(run.no_new_privileges && matches!(run.seccomp, Seccomp::Unconfined));
    assert_eq!(run.pid, Namespace::Host);
    assert_eq!(run.sysctls["net.ipv4.ip_forward"], "1");
}

#[test]
fn what_makes_no_sense_is_refused_in_dockers_words() {
    for (asked, status, says) in [
        (
            json!({"Memory": 1024}),
            400,
            "Minimum memory limit allowed is 6MB",
        ),
        (
            json!({"MemorySwap": 1}),
            400,
            "You should always set the Memory limit",
        ),
        (
            json!({"Memory": 10_000_000, "MemorySwap": 9_000_000}),
            400,
            "Minimum memoryswap limit",
        ),
        (
            json!({"NanoCpus": 1, "CpuPeriod": 1}),
            400,
            "Conflicting options: Nano CPUs",
        ),
        (
            json!({"Runtime": "nope"}),
            400,
            "unknown or invalid runtime name: nope",
        ),
        (json!({"MemorySwappiness": 101}), 400, "invalid value: 101"),
        (
            json!({"OomScoreAdj": 2000}),
            400,
            "Invalid value 2000, range for oom score adj",
        ),
        (
            json!({"UTSMode": "container:x"}),
            400,
            "invalid UTS mode: container:x",
        ),
        (json!({"UTSMode": "what"}), 400, "invalid UTS mode: what"),
        (json!({"SecurityOpt": ["what=1"]}), 400, "invalid --security-opt"),
    ] {
        let refusal = applied(asked.clone()).expect_err("refused");
        assert_eq!(refusal.status().as_u16(), status, "{asked}");
        assert!(refusal.message().starts_with(says), "{}", refusal.message());
    }
}

#[test]
fn the_containers_whose_namespaces_are_shared_are_named() {
    let asked = json!({"PidMode": "container:a", "IpcMode": "container:b"});
    let named = shares(&host(asked));
    assert_eq!(
        (named.pid.as_deref(), named.ipc.as_deref()),
        (Some("a"), Some("b"))
    );
    assert!(!named.shareable && shares(&host(json!({"IpcMode": "shareable"}))).shareable);
}

#[test]
fn restart_policies_have_four_names_and_no_rm_beside_them() {
    for (asked, wanted) in [
        (json!({}), RestartPolicy::No),
        (json!({"RestartPolicy": {"Name": "no"}}), RestartPolicy::No),
        (
            json!({"RestartPolicy": {"Name": "always"}}),
            RestartPolicy::Always,
        ),
        (
            json!({"RestartPolicy": {"Name": "unless-stopped"}}),
            RestartPolicy::UnlessStopped,
        ),
        (
            json!({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}),
            RestartPolicy::OnFailure(3),
        ),
    ] {
        assert_eq!(
            restart(&host(asked.clone())).expect("a policy"),
            wanted,
            "{asked}"
        );
    }
    for bad in [
        json!({"RestartPolicy": {"Name": "sometimes"}}),
        json!({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}}),
        json!({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}}),
        json!({"RestartPolicy": {"Name": "always"}, "AutoRemove": true}),
    ] {
        assert!(restart(&host(bad.clone())).is_err(), "{bad}");
    }
}

#[test]
fn logs_have_a_size_and_a_number_of_files() {
    let settings = log(&host(
        json!({"LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}}),
    ));
    assert_eq!(
        settings.expect("a log"),
        LogSettings {
            keep: true,
            max_size: Some(10 << 20),
            max_files: 3,
            ..LogSettings::default()
        }
    );
    assert!(
        !log(&host(json!({"LogConfig": {"Type": "none"}})))
            .expect("none")
            .keep
    );
    for bad in [
        json!({"Type": "fluentd"}),
        json!({"Config": {"max-size": "big"}}),
        json!({"Config": {"max-file": "0"}}),
    ] {
        assert!(log(&host(json!({"LogConfig": bad.clone()}))).is_err(), "{bad}");
    }
}
