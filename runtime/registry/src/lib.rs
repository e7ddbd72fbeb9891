//! Asks a registry of images whether somebody may log in.
//!
//! The question is `GET /v2/`. The registry answers with challenges: `Basic` wants name and password with the question,
//! `Bearer` names a service that changes them for a token. A secret goes over a connection that isn't encrypted only
//! where the administrator said so, and to this host itself.
#![forbid(unsafe_code)]

mod challenge;
mod error;
mod exchange;
mod login;
mod places;
mod tls;

pub use error::{Error, Result};
pub use login::{Login, login};
pub use places::{Insecure, NotAPlace};
