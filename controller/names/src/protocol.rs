//! What daemon and helper say to each other on the socket: JSON messages with their length in front.
//!
//! Either may be older than the other. The daemon offers the versions it speaks, the helper picks one; fields may be
//! added within a version, meanings may not change.

use std::io;

use dns::{Change, Counts};
use model::SandboxId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The version of this protocol.
pub const VERSION: u32 = 1;
/// No message is longer; larger resyncs go in several.
const LONGEST: usize = 16 << 20;

/// The daemon's first word.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// The oldest version it speaks.
    pub oldest: u32,
    /// The newest version it speaks.
    pub newest: u32,
}

impl Hello {
    /// The version that both speak: the newest.
    pub fn agree(&self) -> Option<u32> {
        (self.oldest..=self.newest).contains(&VERSION).then_some(VERSION)
    }
}

/// The helper's answer to [`Hello`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Welcome {
    /// The version agreed on; none when there is none, and the helper hangs up.
    pub version: Option<u32>,
    /// The helper's process.
    pub pid: u32,
}

/// Changes, or a part of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Push {
    /// The generation that is served once everything is applied.
    pub generation: u64,
    /// The changes are everything: what they don't name is gone.
    #[serde(default)]
    pub resync: bool,
    /// More of the same push follows; nothing is applied before its last part.
    #[serde(default)]
    pub more: bool,
    /// The answer is to say what was asked in every sandbox. A helper that does not know this leaves it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counters: bool,
    /// The changes.
    pub changes: Vec<Change>,
}

/// The helper's answer to a whole push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaughtUp {
    /// What is served from now on.
    pub generation: u64,
    /// Sandboxes that can't be served, with the reason; they are tried again.
    #[serde(default)]
    pub troubles: Vec<String>,
    /// What was asked in every sandbox, if the push wanted to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<Vec<SandboxCounts>>,
}

/// What was asked in one sandbox since its sockets were opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxCounts {
    /// Which.
    pub sandbox: SandboxId,
    /// How often.
    pub counts: Counts,
}

/// Sends a message.
pub async fn send<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), message: &T) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).map_err(|_| io::Error::other("a message is too long"))?;
    to.write_all(&[&length.to_be_bytes(), body.as_slice()].concat())
        .await
}

/// Receives a message; an end between two messages is an `UnexpectedEof`.
pub async fn receive<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let length = from.read_u32().await? as usize;
    if length > LONGEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message is too long",
        ));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body)?)
}
