//! An attached container's input and output, as the asynchronous streams a server copies from and to.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Both directions of one attached client.
#[derive(Debug)]
pub struct Streams {
    /// From the container.
    pub output: Output,
    /// To the container.
    pub input: Input,
}

/// What the container writes: raw bytes of a terminal, else frames of eight bytes' header and content.
///
/// Ends when the process has ended and all its output was read.
#[derive(Debug)]
pub struct Output(OwnedReadHalf);

/// What the container reads. Shutting it down, or dropping it, is the end of this client's input.
#[derive(Debug)]
pub struct Input(OwnedWriteHalf);

impl Streams {
    /// Those of a process that is over: the output is at its end, and nobody reads the input.
    ///
    /// # Errors
    /// The kernel's, when it has no socket to give.
    pub fn ended() -> io::Result<Self> {
        UnixStream::pair().map(|(ours, _)| ours.into())
    }
}

impl From<UnixStream> for Streams {
    fn from(stream: UnixStream) -> Self {
        let (output, input) = stream.into_split();
        Self {
            output: Output(output),
            input: Input(input),
        }
    }
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Input {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
