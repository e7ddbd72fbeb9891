//! Volumes.

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
        /// The user's labels; `null` for none.
        labels: Option<Map<String>>,
        /// Where it is on the host.
        mountpoint: String,
        /// Its name.
        name: String,
        /// The driver's options; `null` for none.
        options: Option<Map<String>>,
        /// `local` or `global`.
        scope: String,
        /// What its driver says of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<serde_json::Value>,
        /// Only in `GET /system/df`.
        #[serde(skip_serializing_if = "Option::is_none")]
        usage_data: Option<VolumeUsageData>,
    }
}

shape! {
    /// How much room a volume takes, and for whom.
    VolumeUsageData {
        /// How many containers have it.
        ref_count: i64,
        /// Bytes; -1 where that can't be told.
        size: i64,
    }
}

shape! {
    /// `POST /volumes/create`.
    VolumeCreate {
        /// Its name; empty for one made up.
        name: String,
        /// Its driver; empty for `local`.
        driver: String,
        /// The driver's options.
        driver_opts: Map<String>,
        /// Labels.
        labels: Map<String>,
        /// Swarm only.
        #[serde(skip_serializing_if = "Option::is_none")]
        cluster_volume_spec: Option<serde_json::Value>,
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
