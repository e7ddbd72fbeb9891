//! What the daemon's configuration decides for the controller.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use model::{Exposure, InterfaceName, Labels, Subnet};

/// Configuration of a controller.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where namespaces are pinned: `EXEC_ROOT/netns/ID`.
    pub exec_root: PathBuf,
    /// The network `bridge`; none for `--bridge none`.
    pub default_bridge: Option<BridgeSettings>,
    /// The bridge that gives overlay endpoints a way out.
    pub gateway_bridge: BridgeSettings,
    /// Options that every new network of a driver starts with (`--default-network-opt`), by driver.
    pub default_options: BTreeMap<String, Labels>,
    /// The host's address for published ports that name none (`--ip`); none for all of both families.
    pub host_ip: Option<IpAddr>,
    /// Whose rules published ports obey where neither they nor their network say so.
    pub exposure: Exposure,
    /// Firewall rules are made on the host (`--iptables`).
    pub firewall: bool,
    /// The host's files that sandboxes' own are derived from.
    pub host_files: HostFiles,
    /// A call of a driver takes no longer.
    pub driver_deadline: Duration,
    /// How long this host's liveness outlasts its last renewal.
    pub lease: Duration,
    /// How long a dead host's addresses and names stay reserved. A host that can't renew for three quarters of
    /// it takes its own global endpoints off the network.
    pub quarantine: Duration,
    /// How often everything is compared with the kernel without being asked.
    pub repair_every: Duration,
}

/// A bridge network made at start.
#[derive(Debug, Clone)]
pub struct BridgeSettings {
    /// The bridge device.
    pub device: InterfaceName,
    /// Its subnet if that is free, else the next free one of the default pools.
    pub preferred_subnet: Option<Subnet>,
    /// Its subnet or nothing (`--bip`): a start fails when it is taken.
    pub subnet: Option<Subnet>,
    /// Its own address (`--bip`).
    pub gateway: Option<IpAddr>,
    /// Where containers' addresses come from (`--fixed-cidr`).
    pub ip_range: Option<Subnet>,
    /// It has IPv6 as well (`--ipv6`).
    pub ipv6: bool,
    /// Its IPv6 subnet or nothing (`--bip6`, `--fixed-cidr-v6`); none for one of the default pools.
    pub subnet_v6: Option<Subnet>,
    /// Its own IPv6 address (`--bip6`).
    pub gateway_v6: Option<IpAddr>,
    /// Where containers' IPv6 addresses come from (`--fixed-cidr-v6`).
    pub ip_range_v6: Option<Subnet>,
    /// Containers' gateways where they are not the bridge (`--default-gateway`, `--default-gateway-v6`).
    pub default_gateways: Vec<IpAddr>,
    /// Driver options beyond the device's name: icc, masquerade, MTU.
    pub options: Labels,
}

/// The host's files.
#[derive(Debug, Clone)]
pub struct HostFiles {
    /// Search domains and options are taken from the first of these that names a server beyond a local stub.
    pub resolv_conf: Vec<PathBuf>,
    /// Copied for containers in the host's namespace.
    pub hosts: PathBuf,
}

impl Settings {
    /// The defaults, with everything at run time under `exec_root`.
    pub fn new(exec_root: impl Into<PathBuf>) -> Self {
        let icc_off = [(
            "com.docker.network.bridge.enable_icc".to_owned(),
            "false".to_owned(),
        )];
        Self {
            exec_root: exec_root.into(),
            default_bridge: Some(BridgeSettings {
                preferred_subnet: "172.17.0.0/16".parse().ok(),
                ..BridgeSettings::on(fixed("cnm0"))
            }),
            gateway_bridge: BridgeSettings {
                options: Labels::from(icc_off),
                ..BridgeSettings::on(fixed("cnm_gwbridge"))
            },
            default_options: BTreeMap::new(),
            host_ip: None,
            exposure: Exposure::default(),
            firewall: true,
            host_files: HostFiles::default(),
            driver_deadline: Duration::from_secs(30),
            lease: Duration::from_secs(15),
            quarantine: Duration::from_secs(3600),
            repair_every: Duration::from_secs(60),
        }
    }
}

impl BridgeSettings {
    /// A bridge with this device and every default.
    pub fn on(device: InterfaceName) -> Self {
        Self {
            device,
            preferred_subnet: None,
            subnet: None,
            gateway: None,
            ip_range: None,
            ipv6: false,
            subnet_v6: None,
            gateway_v6: None,
            ip_range_v6: None,
            default_gateways: Vec::new(),
            options: Labels::new(),
        }
    }
}

impl Default for HostFiles {
    fn default() -> Self {
        Self {
            resolv_conf: vec![
                PathBuf::from("/etc/resolv.conf"),
                PathBuf::from("/run/systemd/resolve/resolv.conf"),
            ],
            hosts: PathBuf::from("/etc/hosts"),
        }
    }
}

fn fixed(name: &str) -> InterfaceName {
    InterfaceName::new(name).expect("a literal follows the kernel's rule")
}
