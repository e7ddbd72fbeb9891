//! A root file system of Debian's static busybox, as the archive that `image import` takes.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use anyhow::{Context as _, ensure};

use crate::programs::Programs;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\nuser:x:1000:1000::/home/user:/bin/sh\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\nuser:x:1000:\n";

/// The archive; `folder` is used for its making.
///
/// # Errors
/// When busybox or tar is missing.
pub fn busybox_archive(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let root = tempfile::Builder::new().prefix("image-").tempdir_in(folder)?;
    let bin = root.path().join("bin");
    for name in ["bin", "etc", "root", "tmp", "var/www", "home/user"] {
        fs::create_dir_all(root.path().join(name))?;
    }
    let program = Programs::peer("busybox")?;
    fs::copy(&program, bin.join("busybox")).with_context(|| format!("copying {}", program.display()))?;
    let listed = Command::new(&program)
        .arg("--list")
        .output()
        .context("asking busybox for its applets")?;
    for applet in String::from_utf8_lossy(&listed.stdout)
        .lines()
        .filter(|applet| *applet != "busybox")
    {
        symlink("busybox", bin.join(applet))?;
    }
    fs::write(root.path().join("etc/passwd"), PASSWD)?;
    fs::write(root.path().join("etc/group"), GROUP)?;
    let output = Command::new("tar")
        .arg("-C")
        .arg(root.path())
        .args(["--numeric-owner", "-c", "."])
        .output()?;
    ensure!(
        output.status.success(),
        "tar: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}
