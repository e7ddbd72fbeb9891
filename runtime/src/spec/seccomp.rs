//! The default system call filter: a list of what is allowed, everything else is refused with "not permitted".
//!
//! The same calls as in Docker's default profile, so that what runs there runs here. Names unknown on an
//! architecture are skipped by the library that compiles the filter.

use oci_spec::runtime::{Capabilities, Capability};
use serde_json::{Value, json};

mod table;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The flags of `clone(2)` that make namespaces.
const NEW_NAMESPACES: u64 = 0x7e02_0000;
/// The address family of virtual machines' sockets, which no namespace confines.
const AF_VSOCK: u64 = 40;
/// Ordinary Linux, 32 bits, both without address randomisation, and asking.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// Since this version a tracer can't get around the filter.
const SAFE_PTRACE: (u32, u32) = (4, 8);

/// The filter for a container with these capabilities, as the spec's JSON.
pub fn default_filter(given: &Capabilities, kernel: (u32, u32)) -> Value {
    let mut rules = vec![allow(table::ALLOWED)];
    if kernel >= SAFE_PTRACE {
        rules.push(allow(&["process_vm_readv", "process_vm_writev", "ptrace"]));
    }
    rules.push(allow_if(&["socket"], 0, AF_VSOCK, None, "SCMP_CMP_NE"));
    rules.extend(PERSONALITIES.map(|value| allow_if(&["personality"], 0, value, None, "SCMP_CMP_EQ")));
    rules.extend(
        table::BY_ARCHITECTURE
            .iter()
            .filter(|(arch, _)| arch.contains(&std::env::consts::ARCH))
            .map(|(_, names)| allow(names)),
    );
    rules.extend(
        table::BY_CAPABILITY
            .iter()
            .filter(|(one, _)| given.contains(one))
            .map(|(_, names)| allow(names)),
    );
    if !given.contains(&Capability::SysAdmin) {
        let flags = if std::env::consts::ARCH == "s390x" { 1 } else { 0 };
        rules.push(allow_if(
            &["clone"],
            flags,
            NEW_NAMESPACES,
            Some(0),
            "SCMP_CMP_MASKED_EQ",
        ));
        // Its flags are behind a pointer, which a filter can't follow: callers fall back to `clone`.
        rules.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}));
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": EPERM,
        "architectures": table::architectures(), "syscalls": rules,
    })
}

fn allow(names: &[&str]) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ALLOW"})
}

fn allow_if(names: &[&str], index: u32, value: u64, second: Option<u64>, operator: &str) -> Value {
    let mut argument = json!({"index": index, "value": value, "op": operator});
    if let Some(second) = second {
        argument["valueTwo"] = json!(second);
    }
    json!({"names": names, "action": "SCMP_ACT_ALLOW", "args": [argument]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(filter: &Value, name: &str) -> bool {
        let rules = filter["syscalls"].as_array().unwrap();
        rules.iter().any(|rule| {
            rule["action"] == "SCMP_ACT_ALLOW"
                && rule.get("args").is_none()
                && rule["names"].as_array().unwrap().iter().any(|one| one == name)
        })
    }

    #[test]
    fn what_is_allowed_depends_on_capabilities_and_kernel() {
        let none = Capabilities::new();
        let admin = Capabilities::from([Capability::SysAdmin]);
        let table = [
            ("read", &none, (6, 1), true),
            ("mount", &none, (6, 1), false),
            ("mount", &admin, (6, 1), true),
            ("unshare", &none, (6, 1), false),
            ("ptrace", &none, (6, 1), true),
            ("ptrace", &none, (4, 7), false),
            ("clone", &none, (6, 1), false),
            ("clone", &admin, (6, 1), true),
            ("keyctl", &admin, (6, 1), false),
            ("io_uring_setup", &admin, (6, 1), false),
        ];
        for (name, given, kernel, expected) in table {
            assert_eq!(
                allowed(&default_filter(given, kernel), name),
                expected,
                "{name} {given:?} {kernel:?}"
            );
        }
    }

    #[test]
    fn the_filter_is_a_valid_one() {
        let filter = default_filter(&Capabilities::new(), (6, 1));
        serde_json::from_value::<oci_spec::runtime::LinuxSeccomp>(filter).unwrap();
    }

    #[test]
    fn no_name_is_there_twice() {
        let mut names = table::ALLOWED.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), table::ALLOWED.len());
    }
}
