//! A pseudo-terminal with a program in it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

/// Both ends of a pseudo-terminal.
pub(crate) struct Terminal {
    ours: File,
    theirs: OwnedFd,
    heard: Receiver<Vec<u8>>,
}

impl Terminal {
    /// Of this size.
    pub(crate) fn open(rows: u16, columns: u16) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&ours).expect("granted");
        unlockpt(&ours).expect("unlocked");
        let name = ptsname(&ours, Vec::new()).expect("a name");
        let path = name.to_str().expect("a path");
        let theirs = File::options()
            .read(true)
            .write(true)
            .open(path)
            .expect("the other end");
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&ours, size).expect("a size");
        let (sender, heard) = channel();
        let mut reader = File::from(ours.try_clone().expect("a second handle"));
        // Ends when both the program and this value are gone.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = reader.read(&mut buffer) {
                if count == 0 || sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            ours: File::from(ours),
            theirs: theirs.into(),
            heard,
        }
    }

    /// Starts a program with its three streams here.
    pub(crate) fn spawn(&self, command: &mut Command) -> Child {
        let stream = || Stdio::from(self.theirs.try_clone().expect("a handle"));
        command
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .expect("the program runs")
    }

    /// Local and input modes, as numbers.
    pub(crate) fn modes(&self) -> (u32, u32) {
        let modes = tcgetattr(&self.theirs).expect("modes");
        (modes.local_modes.bits(), modes.input_modes.bits())
    }

    /// Types.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.ours.write_all(bytes).expect("typed");
    }

    /// Reads until this has been said.
    pub(crate) fn read_until(&mut self, wanted: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut said = String::new();
        while !said.contains(wanted) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(bytes) => said.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{wanted:?} was not said within 10 s, but {said:?}"),
            }
        }
        said
    }
}
