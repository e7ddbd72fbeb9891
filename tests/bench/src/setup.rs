//! What all measurements stand on: two hosts with daemons that share an etcd, an image, and others' daemons if any.

use anyhow::Context as _;
use netlab::{Api, Daemon, DaemonOptions, Host, Lab, Process, Programs, Store, busybox_archive};
use serde_json::{Value, json};

use crate::others::Others;

/// The image that containers are made of.
pub(crate) const IMAGE: &str = "bench:latest";

/// Two hosts, ready. Fields are dropped in order: daemons before the lab.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Others' daemons.
    pub(crate) others: Others,
    /// The first host's daemon.
    pub(crate) a: Daemon,
    /// The second host's daemon.
    pub(crate) b: Daemon,
    /// Where the store answers.
    pub(crate) store_url: String,
    /// The host that the store runs on, reached from inside its namespace.
    pub(crate) store_host: Host,
    _store: Option<Process>,
    /// The lab.
    pub(crate) lab: Lab,
}

impl Setup {
    /// Starts everything.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let programs = Programs::find()?;
        let mut lab = Lab::new()?;
        let store_host = lab.host("store")?;
        let store = Store::Etcd.start(&store_host)?;
        let store_url = Store::Etcd.url(&store_host).context("etcd has an address")?;
        let daemon = |host: Host| {
            Daemon::start(
                &host,
                &programs,
                DaemonOptions {
                    cluster_store: Some(store_url.clone()),
                    flags: Vec::new(),
                },
            )
        };
        let (a, b) = (daemon(lab.host("a")?)?, daemon(lab.host("b")?)?);
        let setup = Self {
            others: Others::start(&mut lab)?,
            a,
            b,
            store_url,
            store_host,
            _store: store,
            lab,
        };
        let archive = busybox_archive(setup.a.host().folder())?;
        for daemon in [&setup.a, &setup.b] {
            import(&daemon.api(), archive.clone())?;
        }
        setup.others.import(&archive)?;
        Ok(setup)
    }
}

/// Imports the archive under [`IMAGE`].
pub(crate) fn import(api: &Api, archive: Vec<u8>) -> anyhow::Result<()> {
    let path = "/images/create?fromSrc=-&repo=bench&tag=latest";
    let answer = api.send("POST".parse()?, path, "application/x-tar", archive.into())?;
    anyhow::ensure!(
        answer.status.is_success(),
        "importing the image: {}",
        answer.message()
    );
    Ok(())
}

/// Creates a network and returns its id.
pub(crate) fn create_network(api: &Api, name: &str, driver: &str) -> anyhow::Result<String> {
    let answer = api.post("/networks/create", &json!({"Name": name, "Driver": driver}))?;
    text(&answer, "Id")
}

/// Creates and starts a container that sleeps, and returns its id.
pub(crate) fn sleeper(api: &Api, name: &str, network: &str) -> anyhow::Result<String> {
    let body = json!({
        "Image": IMAGE, "Cmd": ["sleep", "3600"], "HostConfig": {"NetworkMode": network}, "StopSignal": "SIGKILL",
    });
    let id = text(
        &api.post(&format!("/containers/create?name={name}"), &body)?,
        "Id",
    )?;
    api.post(&format!("/containers/{id}/start"), &Value::Null)?;
    Ok(id)
}

/// A text field of an answer.
pub(crate) fn text(answer: &Value, field: &str) -> anyhow::Result<String> {
    let found = answer[field]
        .as_str()
        .with_context(|| format!("no {field} in {answer}"))?;
    Ok(found.to_owned())
}
