//! Plugins over TCP with TLS, as their `.json` files ask for it. The certificates in `tls/` are for these tests alone and
//! end a hundred years after they were made.

use std::{path::Path, sync::Arc, time::Duration};

use plugin_proto::{
    Error, Limits, Places, Plugin, Plugins,
    network_driver::GetCapabilities,
    server::{NetworkDriver, Server},
};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
};

struct Good;
impl NetworkDriver for Good {}

fn file(name: &str) -> String {
    format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A plugin that only talks to whom the test authority vouches for.
fn acceptor() -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(file("ca.pem")).expect("a test's own world"))
        .expect("a test's own world");
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
        .build()
        .expect("a test's own world");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("a test's own world")
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![CertificateDer::from_pem_file(file("plugin.pem")).expect("a test's own world")],
            PrivateKeyDer::from_pem_file(file("plugin.key")).expect("a test's own world"),
        )
        .expect("a test's own world");
    TlsAcceptor::from(Arc::new(config))
}

async fn listen() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a test's own world");
    let port = listener.local_addr().expect("a test's own world").port();
    let acceptor = acceptor();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a test's own world");
            if let Ok(stream) = acceptor.accept(stream).await {
                Server::default().network(Good).serve_connection(stream).await;
            }
        }
    });
    port
}

fn plugin(folder: &Path, name: &str, port: u16, tls: &serde_json::Value) -> Arc<Plugin> {
    let text = serde_json::json!({"Addr": format!("tcp://localhost:{port}"), "TLSConfig": tls});
    std::fs::write(folder.join(format!("{name}.json")), text.to_string()).expect("a test's own world");
    let places = Places {
        sockets: Vec::new(),
        specifications: vec![folder.to_owned()],
    };
    let limits = Limits {
        time: Duration::from_secs(10),
        patience: Duration::ZERO,
        ..Limits::default()
    };
    Plugins::new(places, limits).named(name)
}

#[tokio::test]
async fn both_ends_are_who_the_authority_says() {
    let (folder, port) = (tempfile::tempdir().unwrap(), listen().await);
    let own = |ca: &str| serde_json::json!({"CAFile": ca, "CertFile": file("host.pem"), "KeyFile": file("host.key")});
    let rows = [
        ("known", own(&file("ca.pem")), true),
        ("unasked", own(""), true),
        ("stranger", own(&file("plugin.pem")), false),
        ("nobody", serde_json::json!({"CAFile": file("ca.pem")}), false),
        ("plain", serde_json::Value::Null, false),
        ("nofile", own("/nonexistent"), false),
    ];
    for (name, tls, works) in rows {
        let plugin = plugin(folder.path(), name, port, &tls);
        let answer = plugin.call(&GetCapabilities).await;
        assert_eq!(answer.is_ok(), works, "{name}: {answer:?}");
        assert!(
            works || matches!(answer, Err(Error::Unreachable { .. } | Error::Nonsense { .. })),
            "{name}"
        );
    }
}
