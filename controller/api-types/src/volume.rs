//! Volumes, so far only as an empty list.

use crate::shape::{Map, shape};

shape! {
    /// `GET /volumes`.
    VolumesListed {
        /// The volumes; never `null`.
        volumes: Vec<Volume>,
        /// What the user should know; `null` for nothing.
        warnings: Option<Vec<String>>,
    }
}

shape! {
    /// A volume.
    Volume {
        /// When it was made, RFC 3339.
        created_at: String,
        /// The driver.
        driver: String,
        /// The user's labels.
        labels: Option<Map<String>>,
        /// Where it is on the host.
        mountpoint: String,
        /// Its name.
        name: String,
        /// The driver's options.
        options: Option<Map<String>>,
        /// `local` or `global`.
        scope: String,
    }
}

shape! {
    /// `POST /volumes/prune`.
    VolumesPruned {
        /// Names of those removed; `null` for none.
        volumes_deleted: Option<Vec<String>>,
        /// Bytes freed.
        space_reclaimed: u64,
    }
}
