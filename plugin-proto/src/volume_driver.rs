//! The calls of subsystem `VolumeDriver`. In every reply of a plugin an `Err` that isn't empty is its refusal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::call::{Call, Nothing, Options, nullable};

/// [`Capabilities::scope`] of a driver whose volumes are those of one host.
pub const LOCAL: &str = "local";
/// [`Capabilities::scope`] of a driver that has the same volumes on every host.
pub const GLOBAL: &str = "global";

/// Makes a volume, or makes sure of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Create {
    /// The volume.
    pub name: String,
    /// What the user typed with `-o`.
    #[serde(deserialize_with = "nullable")]
    pub opts: BTreeMap<String, String>,
}

/// Names a volume.
macro_rules! of_volume {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name {
            /// The volume.
            pub name: String,
        }
    };
}

/// Names a volume and who mounts it.
macro_rules! of_mount {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name {
            /// The volume.
            pub name: String,
            /// Who mounts it: the same at [`Mount`] and at the [`Unmount`] that belongs to it.
            #[serde(rename = "ID", deserialize_with = "nullable")]
            pub id: String,
        }
    };
}

of_volume! {
    /// Removes a volume.
    Remove
}
of_volume! {
    /// Asks where a volume is mounted.
    Path
}
of_volume! {
    /// Asks for a volume.
    Get
}
of_mount! {
    /// A container begins to use a volume: it must be mounted from now on.
    Mount
}
of_mount! {
    /// A container uses it no more.
    Unmount
}

/// Asks for all volumes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {}

/// Asks what the driver can do. Older plugins have no such call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetCapabilities {}

/// Where a volume is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mounted {
    /// The folder on the host; empty while it is not mounted.
    #[serde(deserialize_with = "nullable")]
    pub mountpoint: String,
}

/// A volume as its driver knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Volume {
    /// Its name.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// The folder on the host; empty while it is not mounted.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub mountpoint: String,
    /// When it was made (RFC 3339); empty where the driver does not say.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub created_at: String,
    /// Anything that the driver wants to tell of it.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Options::is_empty")]
    pub status: Options,
}

/// A volume, if the driver has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Found {
    /// The volume.
    pub volume: Option<Volume>,
}

/// All volumes of a driver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Listed {
    /// The volumes. What some write in place of one that is none is left out.
    #[serde(deserialize_with = "without_nulls")]
    pub volumes: Vec<Volume>,
}

fn without_nulls<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Volume>, D::Error> {
    let volumes: Vec<Option<Volume>> = nullable(deserializer)?;
    Ok(volumes.into_iter().flatten().collect())
}

/// What a driver can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Capabilities {
    /// [`LOCAL`] or [`GLOBAL`], in whatever letters; whatever else there is means [`LOCAL`].
    #[serde(deserialize_with = "nullable")]
    pub scope: String,
}

impl Capabilities {
    /// Whether every host has the same volumes.
    pub fn is_global(&self) -> bool {
        self.scope.eq_ignore_ascii_case(GLOBAL)
    }
}

/// The reply to [`GetCapabilities`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Capable {
    /// What the driver can do.
    #[serde(deserialize_with = "nullable")]
    pub capabilities: Capabilities,
}

macro_rules! calls {
    ($($request:ty => $method:literal -> $reply:ty, $times:literal;)*) => {
        $(impl Call for $request {
            const METHOD: &'static str = concat!("VolumeDriver.", $method);
            const TIMES: u32 = $times;
            type Reply = $reply;
        })*
    };
}

// A volume may have to be made on a storage far away, and a file system checked before it is mounted: Docker waits twice
// as long for these as for the others.
calls! {
    Create => "Create" -> Nothing, 4;
    Remove => "Remove" -> Nothing, 2;
    Mount => "Mount" -> Mounted, 4;
    Unmount => "Unmount" -> Nothing, 2;
    Path => "Path" -> Mounted, 1;
    Get => "Get" -> Found, 1;
    List => "List" -> Listed, 1;
    GetCapabilities => "Capabilities" -> Capable, 1;
}

#[cfg(test)]
mod tests;
