//! `GET /containers/json`.

use super::inspect::MountPoint;
use crate::{
    network::EndpointSettings,
    shape::{Map, shape},
};

shape! {
    /// One row of a list.
    ContainerSummary {
        /// Its full id.
        id: String,
        /// Its names with leading slashes.
        names: Vec<String>,
        /// The image as it was asked for.
        image: String,
        /// The image's id.
        #[serde(rename = "ImageID")]
        image_id: String,
        /// Program and arguments in one line.
        command: String,
        /// When it was made, seconds since 1970.
        created: i64,
        /// Its ports; never `null`.
        ports: Vec<SummaryPort>,
        /// Bytes written; only when asked for.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        size_rw: i64,
        /// Bytes in all; only when asked for.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        size_root_fs: i64,
        /// The user's labels.
        labels: Map<String>,
        /// One of the seven states.
        state: String,
        /// The same for people: `Up 2 minutes`.
        status: String,
        /// A part of what the host gives it.
        host_config: SummaryHostConfig,
        /// Its networks.
        network_settings: SummaryNetworkSettings,
        /// What is mounted in it; never `null`.
        mounts: Vec<MountPoint>,
    }
}

shape! {
    /// A port of a container.
    SummaryPort {
        /// Host address; absent when not published.
        #[serde(rename = "IP", skip_serializing_if = "String::is_empty")]
        ip: String,
        /// Port in the container.
        private_port: u16,
        /// Port on the host; absent when not published.
        #[serde(skip_serializing_if = "crate::shape::is_zero")]
        public_port: u16,
        /// `tcp`, `udp` or `sctp`.
        r#type: String,
    }
}

shape! {
    /// A part of what the host gives a container.
    SummaryHostConfig {
        /// Its network mode.
        network_mode: String,
        /// Annotations of the OCI specification.
        #[serde(skip_serializing_if = "Map::is_empty")]
        annotations: Map<String>,
    }
}

shape! {
    /// The networks of a container in a list.
    SummaryNetworkSettings {
        /// Endpoints by network name.
        networks: Map<EndpointSettings>,
    }
}
