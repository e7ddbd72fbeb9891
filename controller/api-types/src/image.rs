//! Images.

use crate::{
    container::{config::Config, inspect::GraphDriver},
    shape::{Map, shape},
};

shape! {
    /// One row of `GET /images/json`.
    ImageSummary {
        /// How many containers use it; -1 when not counted.
        containers: i64,
        /// When it was made, seconds since 1970.
        created: i64,
        /// `sha256:` and the digest of its configuration.
        id: String,
        /// Labels of its configuration; `null` for none.
        labels: Option<Map<String>>,
        /// The image it was built on; empty.
        parent_id: String,
        /// `name@digest`; never `null`.
        repo_digests: Vec<String>,
        /// `name:tag`; never `null`.
        repo_tags: Vec<String>,
        /// Bytes shared with other images; -1 when not counted.
        shared_size: i64,
        /// Bytes in all.
        size: i64,
        /// The same once more, before version 1.44.
        #[serde(skip_serializing_if = "Option::is_none")]
        virtual_size: Option<i64>,
    }
}

shape! {
    /// `GET /images/NAME/json`.
    ImageInspect {
        /// `sha256:` and the digest of its configuration.
        id: String,
        /// `name:tag`; never `null`.
        repo_tags: Vec<String>,
        /// `name@digest`; never `null`.
        repo_digests: Vec<String>,
        /// The image it was built on; empty.
        parent: String,
        /// What its maker said.
        comment: String,
        /// When it was made, RFC 3339; absent when its configuration doesn't say.
        #[serde(skip_serializing_if = "String::is_empty")]
        created: String,
        /// What made it.
        docker_version: String,
        /// Who made it.
        author: String,
        /// What containers of it run unless told otherwise.
        config: Option<Config>,
        /// `amd64` and so on.
        architecture: String,
        /// `v8` and so on.
        #[serde(skip_serializing_if = "String::is_empty")]
        variant: String,
        /// `linux`.
        os: String,
        /// Windows only.
        #[serde(skip_serializing_if = "String::is_empty")]
        os_version: String,
        /// Bytes in all.
        size: i64,
        /// Where its layers are.
        graph_driver: GraphDriver,
        /// Its layers.
        #[serde(rename = "RootFS")]
        root_fs: RootFs,
        /// What is known of it here alone.
        metadata: ImageMetadata,
    }
}

shape! {
    /// The layers of an image.
    RootFs {
        /// `layers`.
        r#type: String,
        /// Digests of the uncompressed layers, the lowest first.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        layers: Vec<String>,
    }
}

shape! {
    /// What is known of an image here alone.
    ImageMetadata {
        /// When a tag last came to it, RFC 3339.
        last_tag_time: String,
    }
}

shape! {
    /// One step of a removal: one of the two is there.
    ImageDeleted {
        /// A tag that was taken away.
        #[serde(skip_serializing_if = "String::is_empty")]
        untagged: String,
        /// An image or a layer that was removed.
        #[serde(skip_serializing_if = "String::is_empty")]
        deleted: String,
    }
}

shape! {
    /// `POST /images/prune`.
    ImagesPruned {
        /// What was removed; `null` for nothing.
        images_deleted: Option<Vec<ImageDeleted>>,
        /// Bytes freed.
        space_reclaimed: u64,
    }
}

shape! {
    /// One row of `GET /images/NAME/history`.
    HistoryItem {
        /// What its maker said.
        comment: String,
        /// When it was made, seconds since 1970.
        created: i64,
        /// What made it.
        created_by: String,
        /// The image's id for the newest row, else `<missing>`.
        id: String,
        /// Bytes it added.
        size: i64,
        /// `name:tag`; `null` for none.
        tags: Option<Vec<String>>,
    }
}
