//! What a sandbox and a network have for names, on the real kernel. Needs root.

use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use model::{NAME_SERVER_V6, Sandbox};
use store::{Stores, memory::Memory};

use super::{
    host::create,
    linux::{in_namespaces_of_its_own, inside, sandbox, start},
};
use crate::{Connect, Error};

/// Whether a datagram to port 53 comes to the sandbox's own port and its answer back from port 53. Asked again for a while:
/// the kernel has a route to an IPv6 address of its own only some time after it has the address.
fn is_redirected(sandbox: &Sandbox, address: IpAddr) -> std::io::Result<bool> {
    let netns = sandbox.netns().expect("a namespace of its own");
    let visit = kernel::netns::enter(netns, || {
        let server = UdpSocket::bind((address, sandbox.dns_ports.udp))?;
        let client = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        server.set_read_timeout(Some(Duration::from_millis(100)))?;
        client.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut buffer = [0; 8];
        let asked = (0..50).find_map(|_| {
            client.send_to(b"who", (address, 53)).ok()?;
            server.recv_from(&mut buffer).ok()
        });
        let (_, from) = asked.ok_or(std::io::ErrorKind::TimedOut)?;
        server.send_to(b"me", from)?;
        Ok(client.recv_from(&mut buffer)? == (2, (address, 53).into()))
    });
    visit.map_err(std::io::Error::other)
}

#[test]
fn a_sandbox_without_ipv4_asks_over_either_family() {
    in_namespaces_of_its_own(async || {
        let folder = tempfile::tempdir().unwrap();
        let controller = start(folder.path(), &Stores::alone(Arc::new(Memory::new()))).await;
        let mut six = create("six", "bridge", None);
        (six.enable_ipv4, six.enable_ipv6) = (false, true);
        let six = controller.networks.create(six).await.unwrap();
        let four = create("four", "bridge", None);
        let four = controller.networks.create(four).await.unwrap();
        let one = sandbox(&controller, folder.path(), "one").await;
        let request = Connect::new(six.id, one.id, "one".to_owned());
        let endpoint = controller.endpoints.connect(request).await.unwrap();
        assert!(endpoint.addresses.ipv4.is_none() && endpoint.addresses.ipv6.is_some());
        for address in [IpAddr::V6(NAME_SERVER_V6), Ipv4Addr::new(127, 0, 0, 11).into()] {
            let rules = || inside(&one, &["nft", "list", "ruleset"]).1;
            assert!(is_redirected(&one, address).unwrap(), "{address}\n{}", rules());
        }
        // With its IPv6 network go the rules; the other family's stay.
        let request = Connect::new(four.id, one.id, "one".to_owned());
        controller.endpoints.connect(request).await.unwrap();
        let closed = controller.endpoints.disconnect(endpoint.id, false);
        closed.await.unwrap();
        let left = inside(&one, &["nft", "list", "ruleset"]).1;
        assert!(
            !left.contains("fd63:6e6d::11") && left.contains("127.0.0.11"),
            "{left}"
        );
        controller.sandboxes.delete(one.id).await.unwrap();
        controller.networks.delete("six").await.unwrap();
        controller.networks.delete("four").await.unwrap();
        controller.stop().await;
    });
}

#[test]
fn options_of_names_that_cannot_be_meant_are_refused_together() {
    in_namespaces_of_its_own(async || {
        let folder = tempfile::tempdir().unwrap();
        let controller = start(folder.path(), &Stores::alone(Arc::new(Memory::new()))).await;
        let mut lab = create("lab", "bridge", None);
        let option = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        lab.options = [
            ("cnm.dns.record.a", "nowhere"),
            ("cnm.dns.forward.corp", "10.0.0.1:x"),
        ]
        .map(option)
        .into();
        let refused = controller.networks.create(lab.clone()).await;
        let Err(Error::Invalid { message, hint }) = refused else {
            panic!("{refused:?}");
        };
        assert!(
            message.contains("nowhere") && message.contains("10.0.0.1:x"),
            "{message}"
        );
        assert!(hint.is_some_and(|hint| hint.contains("cnm.dns.record.api.dev.local=10.0.0.9")));
        lab.options = [("cnm.dns.record.a", "10.0.0.1"), ("cnm.dns.host", "true")]
            .map(option)
            .into();
        let made = controller.networks.create(lab).await.unwrap();
        let made = controller.networks.find(&made.id.to_string()).unwrap();
        assert_eq!(made.options.len(), 2, "as typed");
        controller.networks.delete("lab").await.unwrap();
        controller.stop().await;
    });
}
