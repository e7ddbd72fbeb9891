//! What is recorded of a volume, and of a container's use of it.

use std::path::PathBuf;

use model::{Labels, Timestamp, VolumeName};
use serde::{Deserialize, Serialize};

/// The driver that is built in.
pub(super) const LOCAL: &str = "local";
/// The label of volumes that got no name from a user: prunes remove them first.
pub(super) const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// A volume as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Its name, unique on this host.
    pub name: VolumeName,
    /// Its driver.
    pub driver: String,
    /// The driver's options as they were given.
    pub options: Labels,
    /// The user's labels.
    pub labels: Labels,
    /// When it was made.
    pub created: Timestamp,
    /// Every host has it: its driver says so.
    #[serde(default)]
    pub global: bool,
    /// It is being removed: a start of the daemon finishes that.
    #[serde(default)]
    pub removing: bool,
}

impl VolumeRecord {
    /// Whether no user named it.
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }
}

/// A volume at a place in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// The volume.
    pub volume: VolumeName,
    /// Its driver.
    pub driver: String,
    /// Where it appears.
    pub destination: PathBuf,
    /// It can't be written to.
    pub readonly: bool,
    /// The user gave it no name: `rm -v` removes it.
    pub anonymous: bool,
    /// The image's content at that place is copied into it while it is empty.
    pub copy: bool,
    /// Only this part of it is seen.
    pub subpath: Option<PathBuf>,
    /// Options as typed, for `inspect`.
    pub mode: String,
}
