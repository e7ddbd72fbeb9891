//! Records for tests.

use std::{path::Path, sync::Arc};

use model::{ContainerId, ContainerName, DnsConfig, Labels, Timestamp};

use super::view::View;
use crate::record::{
    ImageUse, LogSettings, NetworkMode, Paths, Phase, Record, RestartPolicy, Settings, State,
};

/// What `docker run IMAGE` asks.
pub(crate) fn settings() -> Settings {
    Settings {
        hostname: String::new(),
        domainname: String::new(),
        labels: Labels::new(),
        exposed_ports: std::collections::BTreeSet::new(),
        ports: Vec::new(),
        publish_all: false,
        unpublished: Vec::new(),
        links: Vec::new(),
        tty: false,
        console_size: None,
        open_stdin: false,
        stdin_once: false,
        stop_signal: String::new(),
        stop_timeout: None,
        network_mode: NetworkMode::Bridge,
        dns: DnsConfig::default(),
        extra_hosts: Vec::new(),
        restart: RestartPolicy::No,
        auto_remove: false,
        log: LogSettings::default(),
        volumes: Vec::new(),
        health: None,
        shell: Vec::new(),
        init: false,
        shares: Default::default(),
        run: runtime::spec::ContainerConfig::default(),
        echo: serde_json::Value::Null,
    }
}

/// A container of busybox made at this second.
pub(crate) fn record(name: &str, phase: Phase, second: i64) -> Record {
    Record {
        id: ContainerId::random(),
        name: ContainerName::new(name).expect("a name"),
        created: Timestamp::from_unix_nanos(second * 1_000_000_000),
        image: ImageUse {
            id: images::Digest::of(b"busybox"),
            asked: "busybox".into(),
        },
        settings: settings(),
        networks: std::collections::BTreeMap::new(),
        state: State {
            phase,
            ..State::created()
        },
    }
}

/// The same, looked at.
pub(crate) fn view(name: &str, phase: Phase, second: i64) -> View {
    let record = record(name, phase, second);
    View {
        paths: Paths::new(Path::new("/data"), &record.id),
        record: Arc::new(record),
        sandbox: None,
        networks: Vec::new(),
        links: Vec::new(),
        volumes: Vec::new(),
        execs: Vec::new(),
        health: None,
    }
}
