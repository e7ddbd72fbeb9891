//! Bytes that wait to be written to a descriptor that does not take them now.

use std::{collections::VecDeque, io::IoSlice, os::fd::AsFd};

use rustix::io::{Errno, writev};

/// An empty queue keeps no more memory than this.
const KEPT: usize = 16 << 10;

#[derive(Debug, Default)]
pub(crate) struct Ring {
    bytes: VecDeque<u8>,
}

/// How a write went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// So many bytes were taken.
    Some(usize),
    /// Nobody will take any any more.
    Broken,
}

impl Ring {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    pub(crate) fn clear(&mut self) {
        self.bytes = VecDeque::new();
    }

    /// Writes what the descriptor takes.
    pub(crate) fn flush(&mut self, to: impl AsFd) -> Flushed {
        let mut taken = 0;
        while !self.bytes.is_empty() {
            let (front, back) = self.bytes.as_slices();
            match writev(&to, &[IoSlice::new(front), IoSlice::new(back)]) {
                Ok(count) => {
                    self.bytes.drain(..count);
                    taken += count;
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => return Flushed::Broken,
            }
        }
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes.shrink_to(KEPT);
        }
        Flushed::Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    #[test]
    fn what_is_not_taken_now_is_taken_later_in_order() {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let bytes: Vec<u8> = (0..200_000u32).map(|number| (number % 251) as u8).collect();
        let mut ring = Ring::default();
        ring.push(&bytes[..150_000]);
        let mut got = Vec::new();
        let mut buffer = [0; 10_000];
        while got.len() < bytes.len() {
            assert_ne!(ring.flush(&write), Flushed::Broken);
            if got.len() == 50_000 {
                ring.push(&bytes[150_000..]);
            }
            let count = rustix::io::read(&read, &mut buffer).unwrap();
            got.extend_from_slice(&buffer[..count]);
        }
        assert!(got == bytes && ring.is_empty());
        drop(read);
        ring.push(b"x");
        assert_eq!(ring.flush(&write), Flushed::Broken);
    }
}
