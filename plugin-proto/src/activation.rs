//! The handshake: which subsystems a plugin implements.

use serde::{Deserialize, Serialize};

use crate::call::{Call, nullable};

/// The subsystem of network drivers.
pub const NETWORK_DRIVER: &str = "NetworkDriver";
/// The subsystem of address management.
pub const IPAM_DRIVER: &str = "IpamDriver";
/// The subsystem of volumes.
pub const VOLUME_DRIVER: &str = "VolumeDriver";

/// The first call of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activate;

impl Call for Activate {
    const METHOD: &'static str = "Plugin.Activate";
    type Reply = Activation;
}

/// What a plugin is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// The subsystems it implements.
    #[serde(rename = "Implements", default, deserialize_with = "nullable")]
    pub implements: Vec<String>,
}
