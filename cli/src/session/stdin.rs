//! Our stdin, read on a thread of its own.
//!
//! A read from a terminal can't be called off, so nobody waits for the thread: the process ends without it.

use std::io::Read;

use tokio::sync::mpsc;

/// What is typed, piece by piece.
#[derive(Debug)]
pub(crate) struct Typing {
    pieces: mpsc::Receiver<Vec<u8>>,
}

impl Typing {
    /// The next piece; nothing at the end of input.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        self.pieces.recv().await
    }
}

/// Begins to read.
pub(crate) fn spawn() -> Typing {
    // Few and bounded: a slow container must slow its writer down.
    let (sender, pieces) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    Typing { pieces }
}
