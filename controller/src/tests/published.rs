//! Published ports on the real kernel: packets, flows, sockets in the way.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use model::{PublishedPorts, Sandbox};
use store::{Stores, memory::Memory};

use super::{
    host::create,
    linux::{in_namespaces_of_its_own, sandbox, start},
    ports::binding,
};
use crate::{Connect, Controller, Error};

struct Scene {
    controller: Arc<Controller>,
    sandbox: Arc<Sandbox>,
    _folder: tempfile::TempDir,
}

async fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let stores = Stores::alone(Arc::new(Memory::new()));
    let controller = start(folder.path(), &stores).await;
    let network = create("lab", "bridge", Some("10.1.0.0/24"));
    let network = controller.networks.create(network).await.unwrap().id;
    let sandbox = sandbox(&controller, folder.path(), "web").await;
    let request = Connect::new(network, sandbox.id, "web");
    controller.endpoints.connect(request).await.unwrap();
    Scene {
        controller,
        sandbox,
        _folder: folder,
    }
}

impl Scene {
    async fn publish(&self, texts: &[&str]) -> crate::Result<Vec<PublishedPorts>> {
        let bindings = texts.iter().map(|text| binding(text)).collect();
        self.controller.sandboxes.publish(self.sandbox.id, bindings).await
    }

    async fn unpublish(&self, ports: &[PublishedPorts]) {
        self.controller
            .sandboxes
            .unpublish(self.sandbox.id, ports)
            .await
            .unwrap();
    }

    async fn end(self) {
        self.controller.sandboxes.delete(self.sandbox.id).await.unwrap();
        self.controller.networks.delete("lab").await.unwrap();
        self.controller.stop().await;
    }
}

/// Whether a connection to the host's port comes to the listener.
fn leads(port: u16, listener: &TcpListener) -> Option<(TcpStream, TcpStream)> {
    let address: SocketAddr = ([10, 1, 0, 1], port).into();
    let mut client = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    let (mut server, _) = listener.accept().ok()?;
    client.write_all(b"x").ok()?;
    let mut byte = [0];
    server.read_exact(&mut byte).ok()?;
    Some((client, server))
}

fn flows() -> Vec<String> {
    let table = Path::new("/proc/thread-self/net/nf_conntrack");
    let text = std::fs::read_to_string(table).unwrap_or_default();
    text.lines()
        .filter(|line| line.contains("dport=80"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_published_port_leads_to_the_container_until_it_is_given_back() {
    in_namespaces_of_its_own(async || {
        let scene = scene().await;
        let listener =
            kernel::netns::tcp_in(scene.sandbox.netns().unwrap(), ([0, 0, 0, 0], 80).into()).unwrap();
        let ports = scene.publish(&["8080:80"]).await.unwrap();
        let connection = leads(8080, &listener).expect("it leads to the container");
        assert!(!flows().is_empty(), "a flow is remembered");
        scene.unpublish(&ports).await;
        assert_eq!(flows(), Vec::<String>::new(), "and forgotten with the port");
        let refused = TcpStream::connect_timeout(&([10, 1, 0, 1], 8080).into(), Duration::from_secs(2));
        assert!(refused.is_err());
        drop((connection, listener));
        scene.end().await;
    });
}

#[test]
fn a_process_of_the_host_keeps_its_port() {
    in_namespaces_of_its_own(async || {
        let scene = scene().await;
        let holder = TcpListener::bind("10.1.0.1:9090").unwrap();
        let error = scene.publish(&["9000-9099:9000-9099"]).await.unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
        let expected = "Bind for 0.0.0.0:9090 failed: port is already allocated (by process \"";
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(
            error
                .to_string()
                .contains(&format!("(pid {})", std::process::id())),
            "{error}"
        );
        drop(holder);
        let ports = scene.publish(&["9000-9099:9000-9099"]).await.unwrap();
        scene.unpublish(&ports).await;
        scene.end().await;
    });
}

#[test]
fn ten_thousand_ports_in_a_row_are_published_at_once() {
    in_namespaces_of_its_own(async || {
        let scene = scene().await;
        let listener =
            kernel::netns::tcp_in(scene.sandbox.netns().unwrap(), ([0, 0, 0, 0], 15000).into()).unwrap();
        // The fastest of three tells: a busy machine slows some.
        let mut fastest = Duration::MAX;
        for _ in 0..3 {
            let began = std::time::Instant::now();
            let ports = scene.publish(&["10000-19999:10000-19999"]).await.unwrap();
            let published = began.elapsed();
            assert!(leads(15000, &listener).is_some());
            let began = std::time::Instant::now();
            scene.unpublish(&ports).await;
            eprintln!("10,000 ports: {published:?}, back {:?}", began.elapsed());
            fastest = fastest.min(published);
        }
        assert!(fastest < Duration::from_millis(500), "{fastest:?}");
        drop(listener);
        scene.end().await;
    });
}
