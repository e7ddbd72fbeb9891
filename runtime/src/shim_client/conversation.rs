//! One request, one reply, on a connection of its own.

use std::io;

use shim_protocol::{Envelope, Reply, Request, frame};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::{Attach, Exit, Shim};
use crate::{Error, Result, Streams};

impl Shim {
    /// Asks, and turns a refusal into an error.
    pub(super) async fn ask(&self, request: &Request) -> Result<Reply> {
        let mut stream = self.connect().await.map_err(Error::Conversation)?;
        converse(&mut stream, request).await
    }

    pub(super) async fn done(&self, request: &Request) -> Result<()> {
        match self.ask(request).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn start_process(&self, exec: Option<String>) -> Result<u32> {
        match self.ask(&Request::Start { exec }).await? {
            Reply::Started { pid } => Ok(pid.unsigned_abs()),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn wait_process(&self, exec: Option<String>) -> Result<Exit> {
        match self.ask(&Request::Wait { exec }).await? {
            Reply::Exited(exit) => Ok(exit.into()),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn attach_process(&self, exec: Option<String>, attach: Attach) -> Result<Streams> {
        let Attach {
            stdin,
            stdout,
            stderr,
        } = attach;
        let request = Request::Attach(shim_protocol::Attach {
            exec,
            stdin,
            stdout,
            stderr,
        });
        let mut stream = self.connect().await.map_err(Error::Conversation)?;
        match converse(&mut stream, &request).await? {
            Reply::Done => Ok(stream.into()),
            other => Err(unexpected(&other)),
        }
    }

    /// Says that it should go, and waits until it has: the connection ends with the process.
    pub(super) async fn say_delete(&self) -> Result<()> {
        let Ok(mut stream) = self.connect().await else {
            return Ok(());
        };
        match converse(&mut stream, &Request::Delete).await {
            // A shim that was leaving already, of its own accord.
            Ok(Reply::Done) | Err(Error::Conversation(_)) => {}
            Ok(other) => return Err(unexpected(&other)),
            Err(error) => return Err(error),
        }
        let _ = stream.read(&mut [0]).await;
        Ok(())
    }
}

/// Speaks on a connection; reads the reply and not a byte more.
async fn converse(stream: &mut UnixStream, request: &Request) -> Result<Reply> {
    exchange(stream, request)
        .await
        .map_err(Error::Conversation)
        .and_then(|reply| match reply {
            Reply::Failed(failure) => Err(failure.into()),
            reply => Ok(reply),
        })
}

async fn exchange(stream: &mut UnixStream, request: &Request) -> io::Result<Reply> {
    stream
        .write_all(&frame::encode(&Envelope::new(request.clone()))?)
        .await?;
    let length = stream.read_u32_le().await? as usize;
    if length > frame::MAX_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    let envelope: Envelope<Reply> = serde_json::from_slice(&text)?;
    Ok(envelope.message)
}

pub(super) fn unexpected(reply: &Reply) -> Error {
    Error::Conversation(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("unexpected answer {reply:?}"),
    ))
}
