//! The same packets with the host's rules made by iptables.

use std::process::Command;

use crate::lab::BACKEND;

/// Runs every other case once more in a process of its own, with iptables.
#[test]
fn every_case_holds_with_rules_of_iptables_too() {
    if std::env::var_os(BACKEND).is_some() {
        return;
    }
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(["bridge::packets::", "--test-threads=2"])
        .env(BACKEND, "1")
        .output()
        .expect("the same tests");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "with iptables: {said}");
}
