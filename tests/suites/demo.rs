//! `cnm demo`, as the quick start runs it: every check holds, and nothing is left behind.

use std::process::Command;

use netlab::{Leftovers, Programs};

fn demo(store: &str) -> anyhow::Result<()> {
    let before = Leftovers::now();
    let output = Command::new(Programs::find()?.ours("cnm"))
        .args(["demo", "--store", store])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{}\n{text}{errors}", output.status);
    assert!(
        text.contains("net create"),
        "the commands are shown as typed: {text}"
    );
    let left = Leftovers::now().since(&before);
    assert_eq!(left, Vec::<String>::new(), "left behind");
    Ok(())
}

#[test]
fn two_hosts_share_an_etcd() -> anyhow::Result<()> {
    demo("etcd")
}

#[test]
fn two_hosts_share_a_consul() -> anyhow::Result<()> {
    demo("consul")
}

#[test]
fn one_host_needs_no_store() -> anyhow::Result<()> {
    demo("embedded")
}
