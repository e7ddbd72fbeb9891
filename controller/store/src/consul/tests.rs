//! What only an agent behind HTTP does: it answers in pieces.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};

use super::Consul;
use crate::{Error, Key, Store, Txn};

/// An agent that sends the head of an answer, and then nothing.
async fn halting() -> Consul {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[";
            let _ = connection.write_all(head).await;
            connections.push(connection);
        }
    });
    Consul::connect(&[address], "cnm-test")
}

#[tokio::test]
async fn an_answer_that_halts_in_its_middle_is_given_up_in_time() {
    let consul = halting().await;
    let key = Key::root("k");
    let verbs = async {
        tokio::join!(
            consul.get(&key),
            consul.list(&key),
            consul.commit(Txn::new().put(key.clone(), vec![])),
            consul.grant(Duration::from_secs(10)),
        )
    };
    let (get, list, commit, grant) = timeout(Duration::from_secs(4), verbs).await.expect("a deadline");
    let errors = [get.err(), list.err(), commit.err(), grant.err()];
    assert!(
        errors
            .iter()
            .all(|error| matches!(error, Some(Error::Unavailable { .. }))),
        "{errors:?}"
    );
}
