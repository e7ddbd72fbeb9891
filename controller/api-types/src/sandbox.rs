//! Ours: sandboxes in namespaces that somebody else made.

use crate::{
    container::inspect::PortMap,
    shape::{Map, shape},
};

shape! {
    /// `POST /sandboxes/attach`: an interface wanted in a namespace that somebody else made.
    SandboxAttach {
        /// Who asks: `cni`, or another program's name.
        manager: String,
        /// What that calls the container.
        key: String,
        /// The namespace: `/run/netns/NAME`, `/proc/PID/ns/net`.
        #[serde(rename = "NetNS")]
        netns: String,
        /// What the manager counts the interface to.
        group: String,
        /// The network, by name or id.
        network: String,
        /// The interface's name; empty for the next free one.
        interface: String,
        /// The endpoint's name, unique on the network.
        name: String,
        /// Host name; empty for none.
        hostname: String,
        /// More names.
        aliases: Vec<String>,
        /// Addresses without prefix lengths, at most one of a family.
        addresses: Vec<String>,
        /// The Ethernet address; empty for one derived from the IP address.
        mac_address: String,
        /// Precedence in the choice of the default gateway.
        gw_priority: i64,
        /// The driver's options.
        driver_opts: Map<String>,
        /// Ports to publish.
        port_bindings: PortMap,
        /// Servers that names of the outside are asked of; empty for the host's.
        dns: Vec<String>,
        /// Search domains.
        dns_search: Vec<String>,
        /// Resolver options.
        dns_options: Vec<String>,
    }
}

shape! {
    /// The answer: what was made.
    SandboxAttached {
        /// The sandbox's id.
        #[serde(rename = "SandboxID")]
        sandbox_id: String,
        /// The endpoint's id.
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        /// The network's id.
        #[serde(rename = "NetworkID")]
        network_id: String,
        /// The interface's name; empty where the driver makes none.
        interface: String,
        /// Its other end on the host; empty where it has none there.
        host_interface: String,
        /// Its Ethernet address.
        mac_address: String,
        /// Bytes; 0 for the kernel's choice.
        #[serde(rename = "MTU")]
        mtu: u32,
        /// Its addresses.
        addresses: Vec<SandboxAddress>,
        /// Routes that leave by it.
        routes: Vec<SandboxRoute>,
        /// Where its names are asked.
        name_server: String,
    }
}

shape! {
    /// An address of an interface.
    SandboxAddress {
        /// With its prefix length.
        address: String,
        /// The gateway that its network offers; empty for none.
        gateway: String,
    }
}

shape! {
    /// A route of a sandbox.
    SandboxRoute {
        /// Where to.
        destination: String,
        /// The next hop; empty for a destination on the link.
        gateway: String,
        /// By which interface.
        #[serde(skip_serializing_if = "String::is_empty")]
        interface: String,
    }
}

shape! {
    /// `POST /sandboxes/detach`: an interface no longer wanted. One that isn't there is no error.
    SandboxDetach {
        /// Who asks.
        manager: String,
        /// What that calls the container.
        key: String,
        /// What the interface was counted to.
        group: String,
        /// The interface's name.
        interface: String,
    }
}

shape! {
    /// The answer to it.
    SandboxDetached {
        /// Whether there was anything to do.
        detached: bool,
    }
}

shape! {
    /// `POST /sandboxes/retain`: of a manager's group only these interfaces are still wanted.
    SandboxRetain {
        /// Who asks.
        manager: String,
        /// Which of its interfaces.
        group: String,
        /// Those that stay.
        valid: Vec<SandboxInterface>,
    }
}

shape! {
    /// An interface by who has it.
    SandboxInterface {
        /// What the manager calls the container.
        key: String,
        /// The interface's name.
        interface: String,
    }
}

shape! {
    /// The answer: what is gone.
    SandboxRetained {
        /// Interfaces.
        detached: Vec<SandboxInterface>,
    }
}

shape! {
    /// A sandbox in a namespace that somebody else made, listed or inspected.
    Sandbox {
        /// Its id.
        id: String,
        /// Who asked for it.
        manager: String,
        /// What that calls the container.
        key: String,
        /// Its namespace.
        #[serde(rename = "NetNS")]
        netns: String,
        /// Host name, perhaps empty.
        hostname: String,
        /// When it was made, RFC 3339.
        created: String,
        /// Its interfaces, the oldest first.
        endpoints: Vec<SandboxEndpoint>,
        /// Published ports.
        ports: PortMap,
        /// What is in the namespace now; only in `inspect`.
        #[serde(skip_serializing_if = "Option::is_none")]
        observed: Option<SandboxObserved>,
    }
}

shape! {
    /// An interface as it was made.
    SandboxEndpoint {
        /// The endpoint's id.
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        /// The network's id.
        #[serde(rename = "NetworkID")]
        network_id: String,
        /// The network's name.
        network: String,
        /// What its manager counts it to.
        group: String,
        /// The interface's name.
        interface: String,
        /// The endpoint's name.
        name: String,
        /// Every name that leads to it.
        #[serde(rename = "DNSNames")]
        dns_names: Vec<String>,
        /// Its Ethernet address.
        mac_address: String,
        /// Its addresses with their prefix lengths.
        addresses: Vec<String>,
    }
}

shape! {
    /// What is in a namespace.
    SandboxObserved {
        /// Interfaces of ours that are there.
        interfaces: Vec<SandboxLink>,
        /// Routes that should be there and are.
        routes: Vec<SandboxRoute>,
        /// What should be there and isn't, in words.
        missing: Vec<String>,
    }
}

shape! {
    /// An interface as it is.
    SandboxLink {
        /// Its name.
        name: String,
        /// Its Ethernet address.
        mac_address: String,
        /// Bytes.
        #[serde(rename = "MTU")]
        mtu: u32,
        /// Administratively up.
        up: bool,
        /// Everything that it wears, whoever put it there.
        addresses: Vec<String>,
    }
}

shape! {
    /// `GET /sandboxes/ready?network=NAME`: whether an interface could be had now.
    SandboxReadiness {
        /// It could.
        ready: bool,
        /// It could not, and those that there are don't reach everybody.
        limited: bool,
        /// Why; empty if it could.
        reason: String,
    }
}
