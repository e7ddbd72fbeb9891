//! Clients that nobody here wrote: docker-py and bollard play a container's life line by line.

#[path = "clients/rust.rs"]
mod rust;

use std::{path::Path, process::Command, time::Duration};

use anyhow::Context as _;
use netlab::{Programs, Single};

type Test = anyhow::Result<()>;

/// docker-py may take so long on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn docker_py_plays_the_whole_life() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    let modules = Programs::package("docker-py")?.join("usr/lib/python3/dist-packages");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/clients/play.py");
    let mut command: Command = docker.client_command("timeout".into());
    command
        .arg(LIMIT.as_secs().to_string())
        .args(["python3", "-B"])
        .arg(script)
        .env("PYTHONPATH", modules);
    let finished = docker
        .host()
        .run_command(command, &[])?
        .ok()
        .context("docker-py")?;
    assert_eq!(finished, "running\nlife\nfiles\nstreams\nlogs\nwaiting\nevents");
    Ok(())
}

#[test]
fn bollard_plays_the_whole_life() -> Test {
    let host = Single::start(&[])?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(rust::play(&host.daemon.socket()))
}
