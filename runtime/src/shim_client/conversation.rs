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
        self.converse(request).await.map(|(_, reply)| reply)
    }

    /// The same; the connection stays for what follows.
    async fn converse(&self, request: &Request) -> Result<(UnixStream, Reply)> {
        let spoken = async {
            let mut stream = self.connect().await?;
            let reply = exchange(&mut stream, request).await?;
            Ok((stream, reply))
        };
        match spoken.await {
            Ok((_, Reply::Failed(failure))) => Err(failure.into()),
            Ok(answered) => Ok(answered),
            // It goes when the container has ended, also in the middle of a word.
            Err(error) if ends(&error) && self.is_gone().await? => Err(Error::Gone(error)),
            Err(error) => Err(Error::Conversation(error)),
        }
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
        match self.converse(&request).await? {
            (stream, Reply::Done) => Ok(stream.into()),
            (_, other) => Err(unexpected(&other)),
        }
    }

    /// Says that it should go, and waits until it has: the connection ends with the process.
    pub(super) async fn say_delete(&self) -> Result<()> {
        let (mut stream, reply) = self.converse(&Request::Delete).await?;
        if reply != Reply::Done {
            return Err(unexpected(&reply));
        }
        let _ = stream.read(&mut [0]).await;
        Ok(())
    }
}

/// Whether a conversation fails so when nobody is, or is any longer, at the other end.
fn ends(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    matches!(
        error.kind(),
        NotFound | ConnectionRefused | UnexpectedEof | ConnectionReset | BrokenPipe
    )
}

/// Speaks on a connection; reads the reply and not a byte more.
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
