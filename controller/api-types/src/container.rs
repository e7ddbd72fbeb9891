//! Containers.

pub(crate) mod config;
pub(crate) mod host_config;
pub(crate) mod inspect;
pub(crate) mod list;

use crate::shape::shape;

shape! {
    /// `POST` and `DELETE /containers/ID/ports`: what is published, or given back.
    PortsChange {
        /// Bindings by container port. In a `DELETE` an empty field of a binding is any, and `null` is every binding.
        port_bindings: inspect::PortMap,
    }
}

shape! {
    /// The answer to both.
    PortsChanged {
        /// The container's ports now, as `inspect` has them; `{}` while it does not run.
        ports: inspect::PortMap,
    }
}

shape! {
    /// `POST /containers/ID/wait`.
    WaitResponse {
        /// The exit status of its first process.
        status_code: i64,
        /// Why there is none to tell.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<WaitError>,
    }
}

shape! {
    /// Why a wait has no exit status to tell.
    WaitError {
        /// For people.
        message: String,
    }
}

shape! {
    /// `POST /containers/ID/update`.
    UpdateResponse {
        /// What the user should know; `null` for nothing.
        warnings: Option<Vec<String>>,
    }
}

shape! {
    /// `GET /containers/ID/top`.
    TopResponse {
        /// Column heads.
        titles: Vec<String>,
        /// A row per process.
        processes: Vec<Vec<String>>,
    }
}

shape! {
    /// `POST /containers/prune`.
    ContainersPruned {
        /// Ids of those removed; `null` for none.
        containers_deleted: Option<Vec<String>>,
        /// Bytes freed.
        space_reclaimed: u64,
    }
}

shape! {
    /// One line of `GET /containers/ID/changes`.
    ContainerChange {
        /// From the container's root.
        path: String,
        /// 0 modified, 1 added, 2 deleted.
        kind: u8,
    }
}

/// What is at a path of a container: JSON in the header `X-Docker-Container-Path-Stat`, in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathStat {
    /// The last part of its path.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Kind and permissions with Go's bits.
    pub mode: u32,
    /// RFC 3339.
    pub mtime: String,
    /// Where a link leads; empty for what is no link.
    pub link_target: String,
}

/// Go's bit of a directory.
pub const GO_DIRECTORY: u32 = 1 << 31;
/// Go's bit of a symbolic link.
pub const GO_SYMLINK: u32 = 1 << 27;
