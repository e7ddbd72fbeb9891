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
        /// What the user should know.
        warnings: Vec<String>,
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
