//! Recordings in `tests/golden/likeness`, and the dockerd that they are made from.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use netlab::{Dockerd, Lab, Programs};

/// The release, and the packages it lies in.
const RELEASE: &str = "version 28.5.";
const PACKAGES: [&str; 2] = ["dockerd-28", "dockerd"];

/// A dockerd of the release, unless it wasn't brought or is another by now.
pub(crate) fn dockerd(flags: &[&str]) -> anyhow::Result<Option<(Lab, Dockerd)>> {
    if !Programs::is_brought(PACKAGES[0]) {
        return Ok(None);
    }
    let mut lab = Lab::new()?;
    let host = lab.host("a")?.with_packages(&PACKAGES)?;
    if !host.run("dockerd", &["--version"])?.ok()?.contains(RELEASE) {
        return Ok(None);
    }
    let docker = Dockerd::start(&host, flags)?;
    Ok(Some((lab, docker)))
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden/likeness")
        .join(name)
}

/// A recording that is kept.
pub(crate) fn golden(name: &str) -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(path(name))?)
}

/// Whether recordings are made anew.
pub(crate) fn is_recording() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

/// Compares with one that is kept. With `UPDATE_GOLDEN` set, writes it instead.
pub(crate) fn assert_golden(name: &str, text: &str) -> anyhow::Result<()> {
    let path = path(name);
    if is_recording() {
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        std::fs::write(&path, text)?;
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, wanted, "differs from {path:?}; UPDATE_GOLDEN=1 accepts it");
    Ok(())
}

/// Compares differences with those that are known: one that is gone is fine, a new one is not. With `UPDATE_GOLDEN` set,
/// writes them instead.
pub(crate) fn assert_known(name: &str, differences: &str) -> anyhow::Result<()> {
    if is_recording() {
        return assert_golden(name, differences);
    }
    let known = golden(name)?;
    let known: BTreeSet<&str> = known.lines().collect();
    let new: Vec<&str> = differences.lines().filter(|line| !known.contains(line)).collect();
    assert!(
        new.is_empty(),
        "not in {:?}; UPDATE_GOLDEN=1 accepts it: {new:#?}",
        path(name)
    );
    Ok(())
}

/// Ids as numbers, in the order in which they appear.
#[derive(Debug, Default)]
pub(crate) struct Ids(BTreeMap<String, usize>);

impl Ids {
    /// Text with every run of 64 hexadecimal digits replaced.
    pub(crate) fn plain(&mut self, text: &str) -> String {
        let mut plain = String::new();
        let mut rest = text;
        while let Some((at, length)) = next_run(rest) {
            let next = self.0.len() + 1;
            let number = *self.0.entry(rest[at..at + length].to_owned()).or_insert(next);
            plain.push_str(&rest[..at]);
            plain.push_str(&format!("(id {number})"));
            rest = &rest[at + length..];
        }
        plain + rest
    }
}

fn next_run(text: &str) -> Option<(usize, usize)> {
    let mut start = 0;
    for (at, byte) in text.bytes().chain([b' ']).enumerate() {
        if !byte.is_ascii_hexdigit() {
            if at - start == 64 {
                return Some((start, 64));
            }
            start = at + 1;
        }
    }
    None
}
