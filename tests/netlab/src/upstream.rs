//! Name servers of the outside.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Context as _;

use crate::{host::Host, traffic::inside};

/// A name server on a host that gives every name one address, and counts how often it was asked.
#[derive(Debug)]
pub struct Upstream {
    asked: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
}

impl Upstream {
    /// Answers at port 53 of an address that the host has.
    ///
    /// # Errors
    /// When it can't be bound.
    pub fn start(host: &Host, at: impl Into<IpAddr>, address: [u8; 4]) -> anyhow::Result<Self> {
        let at = SocketAddr::new(at.into(), 53);
        let socket = inside(host.netns(), || {
            UdpSocket::bind(at).with_context(|| format!("binding {at}"))
        })?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let upstream = Self {
            asked: Arc::default(),
            ends: Arc::default(),
        };
        let (asked, ends) = (Arc::clone(&upstream.asked), Arc::clone(&upstream.ends));
        thread::spawn(move || {
            let mut query = [0; 512];
            while !ends.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut query)
                    && length > 12
                {
                    asked.fetch_add(1, Ordering::Relaxed);
                    let _ = socket.send_to(&answer(&query[..length], address), from);
                }
            }
        });
        Ok(upstream)
    }

    /// How many queries it has had.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// The query with one A record behind its question (RFC 1035); nothing for other types.
fn answer(query: &[u8], address: [u8; 4]) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap_or(0) + 5;
    let mut reply = query[..end.min(query.len())].to_vec();
    let is_a = reply.ends_with(&[0, 1, 0, 1]);
    reply[2..4].copy_from_slice(&[0x81, 0x80]);
    reply[4..12].copy_from_slice(&[0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    if is_a {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend(address);
    }
    reply
}
