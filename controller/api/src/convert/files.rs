//! What is at a path of a container, with the bits that Go's programs know.

use api_types::{ContainerChange, GO_DIRECTORY, GO_SYMLINK, PathStat};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use engine::{Change, ChangeKind, FileFacts};
use model::Timestamp;

/// The header's value.
pub(crate) fn header(facts: &FileFacts) -> String {
    let (seconds, nanos) = facts.modified;
    let nanos = seconds.saturating_mul(1_000_000_000).saturating_add(nanos.into());
    let stat = PathStat {
        name: facts.name.clone(),
        size: facts.size,
        mode: go_mode(facts.mode),
        mtime: Timestamp::from_unix_nanos(nanos).to_string(),
        link_target: facts.link_target.clone(),
    };
    STANDARD.encode(serde_json::to_vec(&stat).unwrap_or_default())
}

pub(crate) fn change(change: &Change) -> ContainerChange {
    ContainerChange {
        path: change.path.display().to_string(),
        kind: match change.kind {
            ChangeKind::Modified => 0,
            ChangeKind::Added => 1,
            ChangeKind::Deleted => 2,
        },
    }
}

/// Permissions are where the kernel has them; kinds and the three special bits are not.
fn go_mode(mode: u32) -> u32 {
    const CHARACTER_DEVICE: u32 = 1 << 26 | 1 << 21;
    let kind = match mode & 0o170_000 {
        0o040_000 => GO_DIRECTORY,
        0o120_000 => GO_SYMLINK,
        0o060_000 => 1 << 26,
        0o020_000 => CHARACTER_DEVICE,
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        _ => 0,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special
        .iter()
        .filter(|(bit, _)| mode & bit != 0)
        .map(|(_, go)| go);
    special.fold(kind | (mode & 0o777), |all, bit| all | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_told_with_gos_bits() {
        for (mode, wanted) in [
            (0o100_644, 0o644),
            (0o040_755, (1 << 31) | 0o755),
            (0o120_777, (1 << 27) | 0o777),
            (0o104_755, (1 << 23) | 0o755),
            (0o041_777, (1 << 31) | (1 << 20) | 0o777),
            (0o020_666, (1 << 26) | (1 << 21) | 0o666),
        ] {
            assert_eq!(go_mode(mode), wanted, "{mode:o}");
        }
    }
}
