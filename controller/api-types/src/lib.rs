//! Docker's JSON, as the Engine API 1.44 to 1.51 writes it: shared by the server, the command line and the tests.
//!
//! Field names and the difference between `null`, `[]` and an absent field are the contract here, because clients
//! in other languages look at them. So an `Option<Vec<…>>` without more is written as `null` when it is `None`;
//! what Docker leaves out is marked so. Reading follows Go's rules, which all clients rely on: an unknown field is
//! passed over, a missing one and a `null` give the zero value.
#![forbid(unsafe_code)]

mod shape;
#[cfg(test)]
mod tests;

mod auth;
mod container;
pub mod detach_keys;
mod error;
mod event;
mod exec;
mod filter;
#[cfg(test)]
mod fuzz;
mod image;
mod network;
mod progress;
mod sandbox;
mod stats;
mod system;
mod volume;

pub use auth::{AuthConfig, AuthStatus};
pub use container::config::{Config, Create, Created, Healthcheck, NetworkingConfig, StringOrList, UnitMap};
pub use container::host_config::{
    BindOptions, BlkioWeightDevice, DeviceMapping, DeviceRequest, HostConfig, LogConfig, MountRequest,
    PortBinding, RestartPolicy, ThrottleDevice, TmpfsOptions, Ulimit, VolumeDriverConfig, VolumeOptions,
};
pub use container::inspect::{
    ContainerInspect, ContainerState, GraphDriver, Health, HealthProbe, MountPoint, NetworkSettings, PortMap,
};
pub use container::list::{ContainerSummary, SummaryHostConfig, SummaryNetworkSettings, SummaryPort};
pub use container::{
    ContainerChange, ContainersPruned, GO_DIRECTORY, GO_SYMLINK, PathStat, PortsChange, PortsChanged,
    TopResponse, UpdateResponse, WaitError, WaitResponse,
};
pub use error::ErrorMessage;
pub use event::{Actor, EventMessage};
pub use exec::{ExecCreate, ExecCreated, ExecInspect, ExecStart, ProcessConfig};
pub use filter::Filters;
pub use image::{HistoryItem, ImageDeleted, ImageInspect, ImageMetadata, ImageSummary, ImagesPruned, RootFs};
pub use network::{
    ConfigReference, Connect, Disconnect, EndpointIpamConfig, EndpointResource, EndpointSettings, Ipam,
    IpamPool, IpamStatus, Network, NetworkCreate, NetworkCreated, NetworkStatus, NetworkUpdate,
    NetworkUpdated, NetworksPruned, PeerInfo, SubnetStatus,
};
pub use progress::{ErrorDetail, Progress, ProgressDetail};
pub use sandbox::{
    Sandbox, SandboxAddress, SandboxAttach, SandboxAttached, SandboxDetach, SandboxDetached, SandboxEndpoint,
    SandboxInterface, SandboxLink, SandboxObserved, SandboxReadiness, SandboxRetain, SandboxRetained,
    SandboxRoute,
};
pub use shape::Map;
pub use stats::{
    BlockEntry, BlockStats, CpuStats, CpuUsage, InterfaceStats, MemoryStats, PidsStats, Stats, ThrottlingData,
};
pub use system::{
    AddressPool, BuildPruned, Commit, Component, DiskUsage, FirewallBackend, Info, Plugins, RegistryConfig,
    RegistryIndex, Runtime, SwarmInfo, SystemVersion, VersionPlatform,
};
pub use volume::{Volume, VolumeCreate, VolumeUsageData, VolumesListed, VolumesPruned};

/// The newest version of the Engine API spoken here.
pub const API_VERSION: &str = "1.51";
/// The oldest version of the Engine API accepted.
pub const MIN_API_VERSION: &str = "1.24";
