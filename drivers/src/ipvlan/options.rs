//! The ipvlan driver's options, typed. Keys are Docker's.

use kernel::object::{IpvlanMode, Isolation};
use model::{InterfaceName, Labels};

use crate::{
    Error, Result,
    options::{self, INTERFACE_PREFIX, MTU},
    parent::{self, PARENT},
};

const MODE: &str = "ipvlan_mode";
const FLAG: &str = "ipvlan_flag";

const KNOWN: [&str; 5] = [PARENT, MODE, FLAG, MTU, INTERFACE_PREFIX];

/// What an ipvlan network can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpvlanOptions {
    /// The link below; none for a network that leads nowhere.
    pub parent: Option<InterfaceName>,
    /// Where routing is left to the host.
    pub mode: IpvlanMode,
    /// How containers reach each other.
    pub isolation: Isolation,
    /// MTU in bytes; none for the parent's.
    pub mtu: Option<u32>,
    /// Start of interface names inside sandboxes; none for `eth`.
    pub interface_prefix: Option<String>,
}

impl IpvlanOptions {
    /// Reads them; refuses what the driver doesn't have or can't use.
    pub fn parse(options: &Labels) -> Result<Self> {
        options::refuse_unknown("ipvlan", &KNOWN, options)?;
        Ok(Self {
            parent: parent::parent(options)?,
            mode: mode(options)?,
            isolation: isolation(options)?,
            mtu: options::mtu(options)?,
            interface_prefix: options::interface_prefix(options)?,
        })
    }
}

fn mode(options: &Labels) -> Result<IpvlanMode> {
    Ok(match options.get(MODE).map(String::as_str) {
        None | Some("" | "l2") => IpvlanMode::L2,
        Some("l3") => IpvlanMode::L3,
        Some("l3s") => IpvlanMode::L3s,
        Some(mode) => {
            return Err(Error::Invalid {
                message: format!("{mode:?} is not an ipvlan mode"),
                hint: Some("\"l2\", \"l3\" or \"l3s\" is wanted".to_owned()),
            });
        }
    })
}

fn isolation(options: &Labels) -> Result<Isolation> {
    Ok(match options.get(FLAG).map(String::as_str) {
        None | Some("" | "bridge") => Isolation::Bridge,
        Some("private") => Isolation::Private,
        Some("vepa") => Isolation::Vepa,
        Some(flag) => {
            return Err(Error::Invalid {
                message: format!("{flag:?} is not an ipvlan flag"),
                hint: Some("\"bridge\", \"private\" or \"vepa\" is wanted".to_owned()),
            });
        }
    })
}
