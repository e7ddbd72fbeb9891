//! Where and as whom an endpoint asks.

use std::{sync::Arc, time::Duration};

use dhcp::{Ask, CLIENT_PORT, Client, Identity, Options, Question, Reply, SERVER_PORT, To, client_id_of, v6};
use kernel::{Datagram, Key, Netns, Object};
use model::{Endpoint, InterfaceName, Network, NodeId, Sandbox, Timestamp};

use super::options;
use crate::{
    core::Core,
    error::{Error, Result},
};

/// How long one question keeps a thread at most; who waits for longer asks again.
const TURN: Duration = Duration::from_secs(3);

/// An endpoint's interface, and what a server knows it by.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) netns: Netns,
    pub(super) link: InterfaceName,
    pub(super) identity: Identity,
    pub(super) identity_v6: v6::Identity,
    pub(super) options: Options,
    /// The interface's MTU, if it is known.
    pub(super) mtu: Option<u32>,
}

impl Place {
    /// Looks at the interface. None while it isn't there.
    pub(super) async fn of(
        core: &Core,
        network: &Network,
        endpoint: &Endpoint,
        sandbox: &Sandbox,
    ) -> Result<Option<Self>> {
        let (Some(netns), Some(link)) = (sandbox.netns(), endpoint.interface.clone()) else {
            return Ok(None);
        };
        let netns = Netns::Pinned(netns.clone());
        let key = Key::Link(netns.clone(), link.clone());
        let seen = core
            .worker
            .observe("looking at an interface", vec![key.clone()])
            .await?;
        let Some(Object::Link(worn)) = seen.get(&key) else {
            return Ok(None);
        };
        let Some(mac) = worn.mac.or(endpoint.addresses.mac) else {
            return Ok(None);
        };
        let options = options(network, &endpoint.options)?;
        let shared = core.driver(&network.driver)?.shares_ethernet();
        let owner = super::owner(endpoint, sandbox);
        let named = options.client_id.as_ref().map(|id| plain(id));
        let derived = || client_id_of(owner, network.id.as_bytes());
        let hostname = options
            .hostname
            .clone()
            .unwrap_or_else(|| sandbox.hostname.clone());
        let hostname = Some(hostname).filter(|name| !name.is_empty());
        Ok(Some(Self {
            identity_v6: super::v6::identity(owner, network, &options, hostname.clone()),
            identity: Identity {
                mac,
                client_id: named.or_else(|| shared.then(derived)),
                hostname,
                vendor_class: options.vendor_class.clone(),
                broadcast: shared,
            },
            netns,
            link,
            options,
            mtu: worn.mtu,
        }))
    }

    fn datagram(&self, question: &Question, to: To, id: u32, seconds: u16) -> Datagram {
        let (from, to) = match to {
            To::Everybody => (None, std::net::Ipv4Addr::BROADCAST),
            To::Server { from, to } => (Some(from), to),
        };
        Datagram {
            netns: self.netns.clone(),
            link: self.link.clone(),
            from,
            to: to.into(),
            own_port: CLIENT_PORT,
            port: SERVER_PORT,
            payload: dhcp::write(question, &self.identity, id, seconds),
        }
    }

    /// Says something that nobody answers.
    pub(super) async fn tell(&self, core: &Core, question: &Question, to: To) -> Result<()> {
        let datagram = self.datagram(question, to, random(), 0);
        let heard = core
            .worker
            .converse(datagram, Duration::ZERO, |_| None::<()>)
            .await;
        heard.map(drop)
    }

    /// Asks, and answers the reply that the client waits for, with when it asked.
    pub(super) async fn ask(
        &self,
        core: &Core,
        client: &Client,
        ask: &Ask,
        limit: Duration,
    ) -> Result<(Option<Reply>, Timestamp)> {
        let (id, mac) = (random(), self.identity.mac);
        let datagram = self.datagram(&ask.question, ask.to, id, 0);
        let client = Arc::new(client.clone());
        let asked = Timestamp::now();
        let take = move |bytes: &[u8]| dhcp::read(bytes, id, mac).filter(|reply| client.waits_for(reply));
        let reply = core
            .worker
            .converse(datagram, ask.wait.min(limit).min(TURN), take)
            .await?;
        Ok((reply, asked))
    }

    fn datagram_v6(&self, question: &v6::Question, id: u32, elapsed: Duration) -> Datagram {
        let hundredths = u16::try_from(elapsed.as_millis() / 10).unwrap_or(u16::MAX);
        Datagram {
            netns: self.netns.clone(),
            link: self.link.clone(),
            from: None,
            to: v6::SERVERS.into(),
            own_port: v6::CLIENT_PORT,
            port: v6::SERVER_PORT,
            payload: v6::write(question, &self.identity_v6, id, hundredths),
        }
    }

    /// [`Place::tell`] over IPv6, to all servers.
    pub(super) async fn tell_v6(&self, core: &Core, question: &v6::Question) -> Result<()> {
        let datagram = self.datagram_v6(question, random(), Duration::ZERO);
        let heard = core
            .worker
            .converse(datagram, Duration::ZERO, |_| None::<()>)
            .await;
        heard.map(drop)
    }

    /// [`Place::ask`] over IPv6; `elapsed` since it was first asked.
    pub(super) async fn ask_v6(
        &self,
        core: &Core,
        client: &v6::Client,
        ask: &v6::Ask,
        limit: Duration,
        elapsed: Duration,
    ) -> Result<(Option<v6::Reply>, Timestamp)> {
        let (id, who) = (random(), self.identity_v6.clone());
        let datagram = self.datagram_v6(&ask.question, id, elapsed);
        let client = client.clone();
        let asked = Timestamp::now();
        let take = move |bytes: &[u8]| v6::read(bytes, id, &who).filter(|reply| client.waits_for(reply));
        let reply = core
            .worker
            .converse(datagram, ask.wait.min(limit).min(TURN), take)
            .await?;
        Ok((reply, asked))
    }

    /// [`Place::nobody`] over IPv6.
    pub(super) fn nobody_v6(&self, refused: Option<String>) -> Error {
        let limit = self.options.timeout.as_secs();
        let message = match refused {
            None => format!("no DHCPv6 server has given an address within {limit} s"),
            Some(text) => format!("the DHCPv6 server gives no address: {text}"),
        };
        Error::Unavailable {
            message,
            hint: Some(
                "see that one serves the parent's segment and gives single addresses (stateful), not only what goes \
                 with them; with --ipam-opt cnm.dhcp.ipv6=slaac none is asked"
                    .to_owned(),
            ),
        }
    }

    /// Nobody has answered, or only to refuse.
    pub(super) fn nobody(&self, refused: Option<String>) -> Error {
        let limit = self.options.timeout.as_secs();
        let message = match refused {
            None => format!("no DHCP server has given an address within {limit} s"),
            Some(text) => format!("the DHCP server refuses an address: {text}"),
        };
        Error::Unavailable {
            message,
            hint: Some(
                "see that one serves the parent's segment (VLAN, switch port, free addresses); a longer \
                 --ipam-opt cnm.dhcp.timeout=30s waits for longer"
                    .to_owned(),
            ),
        }
    }
}

/// A client id of text, with its type in front (RFC 2132, 9.14): none of hardware.
fn plain(text: &str) -> Vec<u8> {
    std::iter::once(0).chain(text.bytes()).collect()
}

/// A number that no other question has.
fn random() -> u32 {
    let [a, b, c, d, ..] = *NodeId::random().as_bytes();
    u32::from_be_bytes([a, b, c, d])
}
