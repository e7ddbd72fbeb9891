//! One daemon per data-root and exec-root, and the process id file.

use std::{
    fs::{self, File, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use nix::fcntl::{Flock, FlockArg};

/// A daemon that was killed may leave a child that was about to become another program: until then it has all that the
/// daemon had open, its locks too.
const PATIENCE: Duration = Duration::from_secs(3);

/// The folders of one daemon, held by it alone until dropped.
#[derive(Debug)]
pub struct Roots {
    _locks: [Flock<File>; 2],
}

impl Roots {
    /// Makes the folders if need be (for root only) and locks them.
    ///
    /// # Errors
    /// When another daemon holds one.
    pub fn claim(data_root: &Path, exec_root: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            _locks: [claim(data_root, 0o710)?, claim(exec_root, 0o711)?],
        })
    }
}

fn claim(root: &Path, mode: u32) -> anyhow::Result<Flock<File>> {
    let context = || format!("making {}", root.display());
    fs::create_dir_all(root).with_context(context)?;
    fs::set_permissions(root, Permissions::from_mode(mode)).with_context(context)?;
    let path = root.join("cnmd.lock");
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    let until = Instant::now() + PATIENCE;
    let mut file = file;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((again, nix::Error::EWOULDBLOCK)) if Instant::now() < until => file = again,
            Err((_, nix::Error::EWOULDBLOCK)) => bail!(
                "{} belongs to another daemon that is running: give this one its own --data-root and --exec-root",
                root.display()
            ),
            Err((_, error)) => return Err(error).with_context(|| format!("locking {}", path.display())),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// A process id file, removed when dropped.
#[derive(Debug)]
pub struct Pidfile(PathBuf);

impl Pidfile {
    /// Writes this process's id.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write(path: &Path) -> anyhow::Result<Self> {
        let write = || -> std::io::Result<()> {
            File::create(path)?.write_all(std::process::id().to_string().as_bytes())
        };
        write().with_context(|| format!("writing {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_on_the_same_roots_is_refused() {
        let root = tempfile::tempdir().expect("a folder");
        let [data, exec, other] = ["data", "exec", "other"].map(|name| root.path().join(name));
        let held = Roots::claim(&data, &exec).expect("free");
        let error = Roots::claim(&other, &exec)
            .expect_err("exec-root is held")
            .to_string();
        assert!(error.contains("belongs to another daemon"), "{error}");
        let leaving = thread::spawn(move || drop(held));
        assert!(
            Roots::claim(&data, &exec).is_ok(),
            "who is about to go is waited for"
        );
        leaving.join().expect("gone");
    }
}
