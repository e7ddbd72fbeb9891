//! The user's terminal: raw mode that is always left again, its size, and the keys that detach.

use std::io;

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// Rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) height: u32,
    pub(crate) width: u32,
}

/// Whether stdin is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    isatty(io::stdin())
}

/// The size of the terminal that stdout is; nothing if it is none.
pub(crate) fn size() -> Option<Size> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    // A serial line says 0 by 0.
    (size.ws_row > 0 && size.ws_col > 0).then(|| Size {
        height: size.ws_row.into(),
        width: size.ws_col.into(),
    })
}

/// While it lives, every key goes to the container.
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Enters raw mode on stdin.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        // At once, and not by throwing away what has been typed ahead.
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
