//! Who holds an address, as stored: somebody, nobody but it is set aside, or nobody but it is kept for a while.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use model::{EndpointId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Holder;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    /// Who it was given to.
    pub(super) holder: LeaseHolder,
    /// The host whose death frees it.
    pub(super) node: NodeId,
    /// Whose it is also while nobody holds it: a static address of a container that exists.
    #[serde(default)]
    pub(super) reserved: Option<Reservation>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reservation {
    pub(super) owner: String,
    pub(super) name: String,
    /// It was set apart for an endpoint, or is again since one has left, and the owner will say when it is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) waiting: Option<Timestamp>,
    /// It waits for that word alone: it has had its endpoint.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) left: bool,
}

impl Reservation {
    /// Whether it was set apart by who hands addresses on; else it is a container's own.
    pub(super) const fn is_apart(&self) -> bool {
        self.waiting.is_some()
    }

    /// The same when the endpoint that has the address leaves.
    fn after_its_endpoint(self, now: Timestamp) -> Self {
        match self.is_apart() {
            true => Self {
                waiting: Some(now),
                left: true,
                ..self
            },
            false => self,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub(super) enum LeaseHolder {
    Gateway,
    Endpoint {
        id: EndpointId,
        name: String,
        #[serde(default)]
        owner: Option<String>,
    },
    /// Given back, and kept for whoever had it.
    Kept {
        owner: Option<String>,
        name: String,
        since: Timestamp,
    },
    Nobody,
}

/// What is left of a lease without one owner.
pub(super) enum Without {
    Same,
    Less(Lease),
    Nothing,
}

impl Lease {
    /// The same, given back and kept; a gateway's is not.
    pub(super) fn kept(self, now: Timestamp) -> Option<Self> {
        let LeaseHolder::Endpoint { name, owner, .. } = self.holder else {
            return None;
        };
        Some(Self {
            holder: LeaseHolder::Kept {
                owner,
                name,
                since: now,
            },
            ..self
        })
    }

    /// The same without its holder, if it is somebody's all the same.
    pub(super) fn idle(&self, now: Timestamp) -> Option<Self> {
        let reserved = self.reserved.clone()?;
        Some(Self {
            holder: LeaseHolder::Nobody,
            node: self.node,
            reserved: Some(reserved.after_its_endpoint(now)),
        })
    }

    pub(super) const fn is_held(&self) -> bool {
        matches!(self.holder, LeaseHolder::Gateway | LeaseHolder::Endpoint { .. })
    }

    pub(super) fn without(self, gone: &str) -> Without {
        let reserved = self
            .reserved
            .as_ref()
            .is_some_and(|reserved| reserved.owner == gone);
        match &self.holder {
            LeaseHolder::Kept { owner, .. } if owner.as_deref() == Some(gone) => Without::Nothing,
            LeaseHolder::Nobody if reserved => Without::Nothing,
            _ if reserved => Without::Less(Self {
                reserved: None,
                ..self
            }),
            _ => Without::Same,
        }
    }

    /// Who has it, for others' messages.
    pub(super) fn describe(&self) -> String {
        match (&self.holder, &self.reserved) {
            (LeaseHolder::Gateway, _) => "the network's gateway".to_owned(),
            (LeaseHolder::Endpoint { name, .. } | LeaseHolder::Kept { name, .. }, _) => format!("{name:?}"),
            (LeaseHolder::Nobody, Some(reserved)) if reserved.left => {
                "a container that is being removed".to_owned()
            }
            (LeaseHolder::Nobody, Some(reserved)) if reserved.is_apart() => {
                "a container that is about to start".to_owned()
            }
            (LeaseHolder::Nobody, Some(reserved)) => format!("{:?}, which is not running", reserved.name),
            (LeaseHolder::Nobody, None) => "nobody".to_owned(),
        }
    }
}

impl LeaseHolder {
    pub(super) fn of(holder: &Holder, owner: Option<&str>) -> Self {
        match holder {
            Holder::Gateway(_) => Self::Gateway,
            Holder::Endpoint(id, name) => Self::Endpoint {
                id: *id,
                name: name.clone(),
                owner: owner.map(str::to_owned),
            },
        }
    }

    pub(super) fn is(&self, other: &Holder) -> bool {
        match (self, other) {
            (Self::Gateway, Holder::Gateway(_)) => true,
            (Self::Endpoint { id: a, .. }, Holder::Endpoint(b, _)) => a == b,
            _ => false,
        }
    }
}

/// Addresses given back, by whom and when.
#[derive(Debug, Default)]
pub(super) struct Kept(BTreeMap<IpAddr, (Option<String>, String, Timestamp)>);

impl Kept {
    pub(super) fn put(&mut self, address: IpAddr, holder: &LeaseHolder) {
        if let LeaseHolder::Kept { owner, name, since } = holder {
            self.0.insert(address, (owner.clone(), name.clone(), *since));
        }
    }

    pub(super) fn forget(&mut self, address: IpAddr) -> bool {
        self.0.remove(&address).is_some()
    }

    /// The address that a container had: by its id, else by its name.
    pub(super) fn of(&self, owner: Option<&str>, name: &str) -> Option<IpAddr> {
        let by = |same: &dyn Fn(&Option<String>, &str) -> bool| {
            let mut all = self.0.iter();
            let found = all.find(|(_, (owner, name, _))| same(owner, name));
            found.map(|(address, _)| *address)
        };
        let own = owner.and_then(|id| by(&|owner, _| owner.as_deref() == Some(id)));
        own.or_else(|| by(&|_, other| other == name))
    }

    /// The address that has been kept longest, if it is longer than `limit`; without one, in any case.
    pub(super) fn oldest(&self, now: Timestamp, limit: Option<Duration>) -> Option<IpAddr> {
        let (address, (_, _, since)) = self.0.iter().min_by_key(|(_, (_, _, since))| *since)?;
        limit
            .is_none_or(|limit| now.since(*since) >= limit)
            .then_some(*address)
    }
}
