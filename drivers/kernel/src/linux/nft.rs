//! nf_tables over netlink: all firewall steps of a plan in one transaction, and observation by key.
//!
//! A transaction is one datagram: begin, messages, end. The kernel checks every message, answers each that it refuses,
//! and then does all or nothing. Within one, order matters only so far as an object must come after what it refers to;
//! [`transaction`] sees to it, so callers give their changes in any order.

mod attributes;
mod connection;
mod expression;
#[cfg(test)]
mod fuzz;
mod judges;
mod lift;
mod lower;
mod message;
mod observe;
mod read;
#[cfg(test)]
mod tests;
mod transaction;

use std::borrow::Cow;

use crate::ruleset::Family;

pub(super) use connection::Connection;
pub(super) use judges::Judge;
pub(super) use transaction::{Change, Refused};

/// The name of the table that an announcement is about: in all of them it is the first attribute.
pub(super) fn announced_table(attributes: &[u8]) -> Option<String> {
    attributes::Received::read(attributes)
        .string(1)
        .map(Cow::into_owned)
}

/// The family of an announcement; none if we have no word for it.
pub(super) fn announced_family(number: u8) -> Option<Family> {
    read::family(number)
}
