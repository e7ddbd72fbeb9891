//! Why the kernel refused, in the terms that a caller can act on.

use std::io;

use crate::Key;

/// Why the kernel refused, each with the object that it refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is one already. [`crate::ensure`] answers it by looking closer.
    #[error("{0} exists already")]
    Exists(Box<Key>),
    /// There is one already, of another kind or another owner's, that must not be taken over.
    #[error("{0} exists already and is not ours")]
    Foreign(Box<Key>),
    /// Something else still needs it.
    #[error("{0} is in use")]
    InUse(Box<Key>),
    /// It isn't there, or what it needs (its link, its master, its namespace) isn't.
    #[error("{object}: there is no {missing}")]
    NoSuch {
        /// The object of the step.
        object: Box<Key>,
        /// What is missing.
        missing: String,
    },
    /// A route's next hop can't be reached over its link, or the link is down.
    #[error("{0}: its next hop is not reachable")]
    Unreachable(Box<Key>),
    /// The process lacks the privilege.
    #[error("{0}: not permitted")]
    NotPermitted(Box<Key>),
    /// This kernel was built without it.
    #[error("{0}: this kernel does not support it")]
    Unsupported(Box<Key>),
    /// The kernel calls a value of it invalid.
    #[error("{object}: the kernel refuses it as invalid{}", hint(.detail))]
    Invalid {
        /// The object of the step.
        object: Box<Key>,
        /// The kernel's own words, if it had any.
        detail: String,
    },
    /// Any other answer.
    #[error("{object}: {action} failed")]
    System {
        /// The object of the step, or what was looked at.
        object: String,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An operation failed, and so did walking back from it: something is left behind.
    #[error("{error}; undoing it failed too: {}", list(.left))]
    NotUndone {
        /// Why the operation failed.
        #[source]
        error: Box<Error>,
        /// What could not be undone.
        left: Vec<Error>,
    },
    /// Several removals failed.
    #[error("{}", list(.0))]
    Several(Vec<Error>),
}

/// A `Result` with the kernel's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where applying steps stopped, and why.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// Indexes of the steps that were done, in their order. Steps go to the kernel in batches, so one behind the failed
    /// one may be among them.
    pub done: Vec<usize>,
    /// Index of the step that failed.
    pub failed: usize,
    /// Why.
    #[source]
    pub error: Error,
}

fn hint(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(" ({detail})")
    }
}

fn list(errors: &[Error]) -> String {
    let texts: Vec<_> = errors.iter().map(Error::to_string).collect();
    texts.join("; ")
}

impl Error {
    /// An error number in the terms above. `missing` names what an ENODEV or ENOENT most likely means.
    pub fn from_errno(
        object: &Key,
        action: &'static str,
        missing: &str,
        source: io::Error,
        detail: &str,
    ) -> Self {
        use nix::libc;
        let no_such = || Self::NoSuch {
            object: object.clone().into(),
            missing: missing.to_owned(),
        };
        match source.raw_os_error() {
            Some(libc::EEXIST) => Self::Exists(object.clone().into()),
            Some(libc::EBUSY) => Self::InUse(object.clone().into()),
            Some(libc::ENODEV | libc::ENOENT | libc::ESRCH | libc::EADDRNOTAVAIL) => no_such(),
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN) => {
                Self::Unreachable(object.clone().into())
            }
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted(object.clone().into()),
            Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => Self::Unsupported(object.clone().into()),
            Some(libc::EINVAL | libc::ERANGE) => Self::Invalid {
                object: object.clone().into(),
                detail: detail.to_owned(),
            },
            _ => Self::System {
                object: object.to_string(),
                action,
                source,
            },
        }
    }
}
