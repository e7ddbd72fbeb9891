//! Somebody on the segment who answers datagrams, as a test wants it.

use std::fmt;

use crate::Datagram;

type Answer = Box<dyn FnMut(&Datagram) -> Vec<Vec<u8>> + Send>;

/// A server; none answers before a test says how.
#[derive(Default)]
pub(super) struct Server {
    pub(super) answer: Option<Answer>,
    pub(super) heard: Vec<Datagram>,
}

impl Server {
    pub(super) fn hear(&mut self, datagram: &Datagram) -> Vec<Vec<u8>> {
        self.heard.push(datagram.clone());
        let answer = self.answer.as_mut();
        answer.map(|answer| answer(datagram)).unwrap_or_default()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}
