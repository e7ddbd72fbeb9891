//! nf_tables over netlink: all firewall steps of a plan in one transaction, and observation by key.
//!
//! A transaction is one datagram: begin, messages, end. The kernel checks every message, answers each that it refuses,
//! and then does all or nothing. Within one, order matters only so far as an object must come after what it refers to;
//! [`transaction`] sees to it, so callers give their changes in any order.

mod attributes;
mod connection;
mod expression;
mod lift;
mod lower;
mod message;
mod observe;
mod read;
#[cfg(test)]
mod tests;
mod transaction;

pub(super) use connection::Connection;
pub(super) use transaction::{Change, Refused};
