//! What a kept program lets through is what the profile says, and only a whole one of the same profile is used.

use std::{fs, os::unix::fs::PermissionsExt as _};

use nix::{
    errno::Errno,
    libc,
    sys::wait::{WaitStatus, waitpid},
    unistd::Pid,
};
use oci_spec::runtime::{Capabilities, Capability, LinuxSeccomp};
use serde_json::json;

use super::{INSTRUCTION, Program};
use crate::fork;

fn default_profile(given: &[Capability]) -> LinuxSeccomp {
    let given: Capabilities = given.iter().copied().collect();
    let profile = runtime::spec::seccomp::default_filter(&given, (6, 1));
    serde_json::from_value(profile).expect("a profile")
}

/// The exit code of a child that runs `work` under a program.
fn under(program: &Program, work: impl Fn() -> i32) -> i32 {
    let child = fork::child(&[], || match program.load() {
        Ok(()) => fork::leave(work()),
        Err(_) => fork::leave(99),
    });
    match waitpid(Pid::from_raw(child.expect("a child")), None) {
        Ok(WaitStatus::Exited(_, code)) => code,
        other => panic!("{other:?}"),
    }
}

/// The error of a system call, or 0.
fn errno_of(call: libc::c_long, first: u64) -> i32 {
    // SAFETY: refused or not, these calls with such arguments touch no memory of ours.
    match unsafe { libc::syscall(call, first, 0, 0, 0, 0) } {
        -1 => Errno::last_raw(),
        _ => 0,
    }
}

#[test]
fn the_default_profile_lets_through_what_it_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let new_user = libc::CLONE_NEWUSER as u64 | libc::SIGCHLD as u64;
    let admin = [Capability::SysAdmin];
    let table: [(&str, &[Capability], libc::c_long, u64, i32); 7] = [
        ("getppid", &[], libc::SYS_getppid, 0, 0),
        ("keyctl", &[], libc::SYS_keyctl, 0, libc::EPERM),
        ("clone3", &[], libc::SYS_clone3, 0, libc::ENOSYS),
        ("unshare", &[], libc::SYS_unshare, 0, libc::EPERM),
        ("unshare", &admin, libc::SYS_unshare, 0, 0),
        (
            "clone into a user namespace",
            &[],
            libc::SYS_clone,
            new_user,
            libc::EPERM,
        ),
        ("personality", &[], libc::SYS_personality, 0xffff_ffff, 0),
    ];
    for (name, given, call, argument, expected) in table {
        for time in ["compiled", "kept"] {
            let program = Program::of(&default_profile(given), folder.path())
                .expect("it compiles")
                .expect("a program is enough");
            let found = under(&program, || errno_of(call, argument));
            assert_eq!(found, expected, "{name} with {given:?}, {time}");
        }
    }
    // A process can still be made.
    let program = Program::of(&default_profile(&[]), folder.path())
        .expect("kept")
        .expect("a program");
    assert_eq!(
        under(&program, || match fork::child(&[], || fork::leave(7)) {
            Ok(child) => match waitpid(Pid::from_raw(child), None) {
                Ok(WaitStatus::Exited(_, code)) => code,
                _ => 98,
            },
            Err(_) => 97,
        }),
        7
    );
}

#[test]
fn only_a_whole_program_of_the_same_profile_is_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = folder.path().join("kept");
    let profile = default_profile(&[]);
    let program = Program::of(&profile, &kept)
        .expect("it compiles")
        .expect("a program");
    let file = fs::read_dir(&kept)
        .expect("a folder")
        .next()
        .expect("a file")
        .expect("an entry")
        .path();
    let whole = fs::read(&file).expect("its text");
    let mut other = whole.clone();
    other[40] ^= 1;
    let damaged: [(&str, Vec<u8>, u32); 5] = [
        ("nothing", Vec::new(), 0o600),
        ("cut", whole[..whole.len() - 3].to_vec(), 0o600),
        (
            "without instructions",
            whole[..whole.len() - program.0.len()].to_vec(),
            0o600,
        ),
        ("of another profile", other, 0o600),
        ("that others can write", whole.clone(), 0o666),
    ];
    for (name, bytes, mode) in damaged {
        fs::write(&file, bytes).expect("writing");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
        let again = Program::of(&profile, &kept)
            .expect("it compiles")
            .expect("a program");
        assert_eq!(again, program, "{name}");
        assert_eq!(
            fs::read(&file).expect("its text"),
            whole,
            "{name}: it is kept anew"
        );
    }
    assert!(program.0.len() > 100 * INSTRUCTION);
    // What the file says is believed: nothing is compiled again.
    let mut marked = whole;
    let end = marked.len();
    marked[end - 1] ^= 1;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::write(&file, &marked).expect("writing");
    assert_ne!(
        Program::of(&profile, &kept).expect("kept").expect("a program"),
        program
    );
}

#[test]
fn a_profile_that_asks_for_more_is_left_to_the_library() {
    let folder = tempfile::tempdir().expect("a folder");
    for more in [
        json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/listener"}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]}),
    ] {
        let profile: LinuxSeccomp = serde_json::from_value(more.clone()).expect("a profile");
        assert_eq!(
            Program::of(&profile, folder.path()).expect("read"),
            None,
            "{more}"
        );
    }
}
