//! A network driver that connects a container to the host with a veth pair: a plugin in fewer than fifty lines.
//!
//! Start it as root, then `docker network create -d veth --subnet 10.9.8.0/24 lan` and `docker run --network lan …`.
//! The host reaches each container by its own link.

use std::process::Command;

use async_trait::async_trait;
use plugin_proto::{
    Nothing,
    network_driver::{CreateEndpoint, CreatedEndpoint, DeleteEndpoint, InterfaceName, Join, Joined},
    server::{Answer, NetworkDriver, Server},
};

struct Veth;

fn ip(arguments: &str) -> Answer<()> {
    let done = Command::new("ip").args(arguments.split(' ')).output()?;
    match done.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&done.stderr).trim().into()),
    }
}

#[async_trait]
impl NetworkDriver for Veth {
    async fn create_endpoint(&self, request: CreateEndpoint) -> Answer<CreatedEndpoint> {
        let (name, address) = (&request.endpoint_id[..8], &request.interface.address);
        ip(&format!("link add v{name} type veth peer name c{name}"))?;
        let route = format!(
            "route add {} dev v{name}",
            address.split('/').next().unwrap_or_default()
        );
        ip(&format!("link set v{name} up")).and_then(|()| ip(&route))?;
        Ok(CreatedEndpoint::default())
    }
    async fn join(&self, request: Join) -> Answer<Joined> {
        let (src_name, dst_prefix) = (format!("c{}", &request.endpoint_id[..8]), "eth".to_owned());
        let interface = InterfaceName {
            src_name,
            dst_prefix,
            ..InterfaceName::default()
        };
        Ok(Joined {
            interface_name: Some(interface),
            ..Joined::default()
        })
    }
    async fn delete_endpoint(&self, request: DeleteEndpoint) -> Answer<Nothing> {
        ip(&format!("link del v{}", &request.endpoint_id[..8])).map(|()| Nothing {})
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    Server::default()
        .network(Veth)
        .serve_at("/run/docker/plugins/veth.sock")
        .await
}
