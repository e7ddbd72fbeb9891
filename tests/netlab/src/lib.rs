//! A laboratory of hosts on one machine: network namespaces joined by an underlay segment of their own, with daemons,
//! stores and loads in them. Tests, benchmarks and the demo are made of it.
//!
//! Everything is inside namespaces that the lab makes; nothing touches the machine's own interfaces. A [`Lab`] takes
//! everything down when it is dropped, and a new one first takes down what a killed one left behind.
#![forbid(unsafe_code)]

mod api;
mod backend;
mod clients;
mod daemon;
mod dhcp;
mod dockerd;
mod firewalls;
mod flow;
mod host;
mod image;
mod lab;
mod leftovers;
mod load;
mod mounts;
mod process;
mod programs;
mod single;
mod sweep;
mod traffic;
mod upstream;
mod wait;

pub use api::{Answer, Api};
pub use backend::{Backend, on_each_backend};
pub use clients::{DockerClient, contains, on_each_client};
pub use daemon::{Daemon, DaemonOptions};
pub use dhcp::DhcpServer;
pub use dockerd::Dockerd;
pub use firewalls::{Firewalld, prepare_ufw};
pub use flow::{Echo, Flow};
pub use host::Host;
pub use image::busybox_archive;
pub use lab::{Lab, OUTSIDE_ADDRESS};
pub use leftovers::Leftovers;
pub use load::{DnsLoad, HttpLoad, IperfLoad, Load, Queries, go_on};
pub use process::{Finished, Process};
pub use programs::{Programs, Store};
pub use single::Single;
pub use upstream::Upstream;
pub use wait::{Interrupted, interrupted, wait_for, watch_for_interrupts};
