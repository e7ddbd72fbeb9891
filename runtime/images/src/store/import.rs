//! Import: the archive of a root file system becomes an image of one layer.

use std::io::Read;

use model::Timestamp;

use super::{Ready, Store, Workspace};
use crate::{
    Defaults, Document, HistoryEntry, ImageId, Reference, Refusal, Result, RootFs, archive::Budget, changes,
    document::host_architecture,
};

/// What is asked of an import besides the archive.
#[derive(Debug, Clone)]
pub struct Import {
    /// The name the image gets, if any.
    pub reference: Option<Reference>,
    /// Dockerfile instructions, in order.
    pub changes: Vec<String>,
    /// What `history` shows.
    pub message: String,
    /// `os[/architecture[/variant]]`; this machine's when none is given.
    pub platform: Option<String>,
    /// The moment that goes into the configuration.
    pub created: Timestamp,
}

impl Store {
    /// Takes the archive of a root file system (plain, gzip or zstd) in as an image.
    pub fn import(&self, input: impl Read, import: &Import) -> Result<ImageId> {
        let mut defaults = Defaults::default();
        for line in &import.changes {
            changes::apply(&mut defaults, line)?;
        }
        let workspace = Workspace::new(self)?;
        let (staged, unpacked) = self.stage(input, &workspace, &Budget::new(self.limits))?;
        // No digest was promised here, so the format's own end mark is all that tells a whole archive from a cut one.
        if !unpacked.stream.ended {
            return Err(Refusal::Truncated.into());
        }
        let document = document(
            import,
            defaults,
            RootFs {
                diff_ids: vec![staged.diff_id],
                ..RootFs::default()
            },
        );
        let raw = serde_json::to_vec(&document).expect("strings as keys always make JSON");
        let names = import.reference.iter().cloned().collect();
        let ids = self.publish(vec![staged], vec![Ready { raw, document, names }])?;
        Ok(ids[0])
    }
}

fn document(import: &Import, config: Defaults, rootfs: RootFs) -> Document {
    let mut platform = import
        .platform
        .iter()
        .flat_map(|platform| platform.split('/'))
        .map(str::to_owned);
    let message = Some(import.message.clone()).filter(|message| !message.is_empty());
    Document {
        os: platform
            .next()
            .filter(|os| !os.is_empty())
            .unwrap_or_else(|| "linux".to_owned()),
        architecture: platform.next().unwrap_or_else(|| host_architecture().to_owned()),
        variant: platform.next(),
        created: Some(import.created),
        author: None,
        comment: message.clone(),
        config,
        rootfs,
        history: vec![HistoryEntry {
            created: Some(import.created),
            comment: message,
            ..HistoryEntry::default()
        }],
    }
}
