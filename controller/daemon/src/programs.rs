//! Where the helper programs lie: beside the daemon as it was at start, in `../libexec/cnm`, or where the
//! administrator says. Never PATH: a root daemon runs nothing it merely came across.

use std::path::{Path, PathBuf};

/// The folder's helpers are looked for in.
#[derive(Debug)]
pub struct Programs {
    folders: Vec<PathBuf>,
}

/// A helper that is nowhere.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name} is in none of {}: install it there or name its folder with --shim-path",
    list(folders)
)]
pub struct Missing {
    name: &'static str,
    folders: Vec<PathBuf>,
}

fn list(folders: &[PathBuf]) -> String {
    folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

impl Programs {
    /// To be called at start: after an upgrade the link to the running executable reads "(deleted)".
    pub fn new(executable: &Path, shim_path: Option<&Path>) -> Self {
        let beside = executable.parent().unwrap_or(Path::new("/"));
        let folders = match shim_path {
            Some(folder) => vec![folder.to_owned()],
            None => vec![beside.to_owned(), beside.join("../libexec/cnm")],
        };
        Self { folders }
    }

    /// The path of one helper.
    ///
    /// # Errors
    /// When it is in none of the folders.
    pub fn find(&self, name: &'static str) -> Result<PathBuf, Missing> {
        let candidates = self.folders.iter().map(|folder| folder.join(name));
        candidates
            .into_iter()
            .find(|path| path.is_file())
            .ok_or_else(|| Missing {
                name,
                folders: self.folders.clone(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_found_beside_the_daemon_then_in_libexec_and_nowhere_else() {
        let root = tempfile::tempdir().expect("a folder");
        let [bin, libexec] = ["bin", "libexec/cnm"].map(|name| root.path().join(name));
        for folder in [&bin, &libexec] {
            std::fs::create_dir_all(folder).expect("made");
        }
        let programs = Programs::new(&bin.join("cnmd"), None);
        assert!(programs.find("sh").is_err(), "PATH is not asked");
        std::fs::write(libexec.join("cnm-shim"), "").expect("written");
        assert_eq!(
            programs.find("cnm-shim").expect("in libexec"),
            bin.join("../libexec/cnm/cnm-shim")
        );
        std::fs::write(bin.join("cnm-shim"), "").expect("written");
        assert_eq!(programs.find("cnm-shim").expect("beside"), bin.join("cnm-shim"));
        let elsewhere = Programs::new(&bin.join("cnmd"), Some(&root.path().join("x")));
        assert!(
            elsewhere
                .find("cnm-shim")
                .expect_err("not there")
                .to_string()
                .contains("--shim-path")
        );
    }
}
