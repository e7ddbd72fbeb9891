//! Linux keeps the contract, each case in a network and a mount namespace of its own.

use std::{any::Any, path::PathBuf, thread};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::Uid,
};

use super::Linux;
use crate::contract::{Case, kernel_contract};

/// Runs `test` on a thread whose namespaces end with it.
pub(super) fn apart<T: Send>(test: impl FnOnce() -> T + Send) -> Option<T> {
    if !Uid::effective().is_root() {
        eprintln!("skipped: namespaces can only be made by root");
        return None;
    }
    let outcome: Result<T, Box<dyn Any + Send>> = thread::scope(|scope| {
        scope
            .spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces for a test");
                let flags = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
                mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).expect("private mounts");
                test()
            })
            .join()
    });
    match outcome {
        Ok(value) => Some(value),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A folder for pins that goes however its test ends.
pub(super) struct Pins(tempfile::TempDir);

impl Pins {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for pins"))
    }

    pub(super) fn path(&self) -> PathBuf {
        self.0.path().join("netns")
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        // All pins with their folder's own mount; there is none when the test removed them.
        let _ = umount2(&self.path(), MntFlags::MNT_DETACH);
    }
}

fn on_linux(case: fn(&Case<'_>)) {
    apart(|| {
        let folder = Pins::new();
        let linux = Linux::here().expect("a kernel");
        case(&Case::new(&linux, &folder.path()));
    });
}

kernel_contract!(on_linux);

mod cost;
mod ownership;
mod pairs;
