//! The macvlan driver's options, typed. Keys are Docker's.

use kernel::object::MacvlanMode;
use model::{InterfaceName, Labels};

use crate::{
    Error, Result,
    options::{self, INTERFACE_PREFIX, MTU, boolean},
    parent::{self, PARENT},
};

const MODE: &str = "macvlan_mode";
const HOST_ACCESS: &str = "cnm.host_access";

const KNOWN: [&str; 5] = [PARENT, MODE, MTU, INTERFACE_PREFIX, HOST_ACCESS];

/// What a macvlan network can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacvlanOptions {
    /// The link below; none for a network that leads nowhere.
    pub parent: Option<InterfaceName>,
    /// How containers reach each other.
    pub mode: MacvlanMode,
    /// MTU in bytes; none for the parent's.
    pub mtu: Option<u32>,
    /// Start of interface names inside sandboxes; none for `eth`.
    pub interface_prefix: Option<String>,
    /// The host and its containers reach each other.
    pub host_access: bool,
}

impl MacvlanOptions {
    /// Reads them; refuses what the driver doesn't have or can't use.
    pub fn parse(options: &Labels) -> Result<Self> {
        options::refuse_unknown("macvlan", &KNOWN, options)?;
        Ok(Self {
            parent: parent::parent(options)?,
            mode: mode(options)?,
            mtu: options::mtu(options)?,
            interface_prefix: options::interface_prefix(options)?,
            host_access: boolean(options, HOST_ACCESS, false)?,
        })
    }
}

fn mode(options: &Labels) -> Result<MacvlanMode> {
    Ok(match options.get(MODE).map(String::as_str) {
        None | Some("" | "bridge") => MacvlanMode::Bridge,
        Some("private") => MacvlanMode::Private,
        Some("vepa") => MacvlanMode::Vepa,
        Some("passthru") => MacvlanMode::Passthru,
        Some(mode) => {
            return Err(Error::Invalid {
                message: format!("{mode:?} is not a macvlan mode"),
                hint: Some("\"bridge\", \"private\", \"vepa\" or \"passthru\" is wanted".to_owned()),
            });
        }
    })
}
