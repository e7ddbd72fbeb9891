//! Whole operations on a fake kernel, the real drivers and stores in memory.

mod cluster;
mod connections;
mod dead_flows;
mod dressed;
mod faults;
mod foreign;
mod host;
mod lacking;
mod leases;
mod linux;
mod names;
mod networks;
mod plugins;
mod ports;
mod published;
mod removals;
mod repairs;
mod restart;
mod routes;
mod spy;
mod strangers;
mod updates;
