//! Our own address management as a plugin: the contract of [`Ipam`] over the wire.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use async_trait::async_trait;
use model::{AddressFamily, EndpointId, NetworkId, NodeId, Pool, Scope, Subnet};
use plugin_proto::{
    Limits, Nothing, Places, Plugins,
    ipam_driver::{
        ADDRESS_TYPE, AddressGranted, ENDPOINT_NAME, PoolGranted, ReleaseAddress, ReleasePool,
        RequestAddress, RequestPool,
    },
    server::{Answer, IpamDriver, Server},
};
use store::{Store, Stores, Txn, memory::Memory};
use tokio::net::UnixListener;

use super::Remote;
use crate::{
    AddressRequest, DefaultPool, Holder, Ipam, PoolRequest, Stored,
    contract::{self, Says},
};

/// The built-in management of one host. A pool's id says all that is to be known of it: any host may be asked.
struct Served {
    ipam: Stored,
    store: Arc<dyn Store>,
    node: NodeId,
}

impl Served {
    /// Commits; not when somebody else was faster.
    async fn commit(&self, txn: Txn) -> Answer<bool> {
        match self.store.commit(txn).await {
            Ok(_) => Ok(true),
            Err(store::Error::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn pool_of(id: &str) -> Answer<(NetworkId, Pool)> {
    let mut words = id.splitn(3, ' ');
    let mut next = || words.next().ok_or("no such pool");
    let network = next()?.parse().map_err(|_| "no such pool")?;
    let pool = Pool {
        subnet: next()?.parse().map_err(|_| "no such pool")?,
        id: next()?.to_owned(),
        space: None,
        ip_range: None,
        gateway: None,
        aux_addresses: BTreeMap::new(),
    };
    Ok((network, pool))
}

/// Who asks for an address by name is the same one each time; who takes any is somebody else each time.
fn holder(network: NetworkId, request: &RequestAddress) -> Holder {
    if request.options.contains_key(ADDRESS_TYPE) {
        return Holder::Gateway(network);
    }
    let name = request.options.get(ENDPOINT_NAME).cloned().unwrap_or_default();
    let id = match request.address.as_str() {
        "" => EndpointId::random(),
        _ => {
            let mut bytes = [0; 32];
            for (byte, letter) in bytes.iter_mut().zip(name.bytes()) {
                *byte = letter;
            }
            EndpointId::from_bytes(bytes)
        }
    };
    Holder::Endpoint(id, name)
}

fn optional<T: std::str::FromStr>(text: &str) -> Answer<Option<T>> {
    match text {
        "" => Ok(None),
        text => Ok(Some(
            text.parse().map_err(|_| format!("{text:?} makes no sense"))?,
        )),
    }
}

#[async_trait]
impl IpamDriver for Served {
    async fn request_pool(&self, request: RequestPool) -> Answer<PoolGranted> {
        let family = match request.v6 {
            true => AddressFamily::V6,
            false => AddressFamily::V4,
        };
        let request = PoolRequest {
            network: NetworkId::random(),
            network_name: "somebody's".to_owned(),
            scope: Scope::Global,
            family,
            subnet: optional::<Subnet>(&request.pool)?,
            ip_range: optional(&request.sub_pool)?,
            aux_addresses: BTreeMap::new(),
            options: request.options.into_iter().collect(),
            siblings: Vec::new(),
            avoid: Vec::new(),
            links: Vec::new(),
            shared_segment: false,
        };
        loop {
            let grant = self.ipam.request_pool(&request).await?;
            if self.commit(grant.txn).await? {
                return Ok(PoolGranted {
                    pool_id: format!("{} {} {}", request.network, grant.subnet, grant.id),
                    pool: grant.subnet.to_string(),
                    ..PoolGranted::default()
                });
            }
        }
    }

    async fn release_pool(&self, request: ReleasePool) -> Answer<Nothing> {
        let (network, pool) = pool_of(&request.pool_id)?;
        let txn = self.ipam.release_pool(network, Scope::Global, &pool).await?;
        self.commit(txn).await.map(|_| Nothing {})
    }

    async fn request_address(&self, request: RequestAddress) -> Answer<AddressGranted> {
        let (network, pool) = pool_of(&request.pool_id)?;
        let mut avoid: Vec<IpAddr> = Vec::new();
        let holder = holder(network, &request);
        loop {
            let asked = AddressRequest {
                network,
                scope: Scope::Global,
                pool: &pool,
                holder: holder.clone(),
                owner: None,
                node: self.node,
                wanted: optional(&request.address)?,
                mac: None,
                avoid: &avoid,
            };
            let grant = self.ipam.request_address(&asked).await?;
            if self.commit(grant.txn).await? {
                return Ok(AddressGranted {
                    address: grant.address.to_string(),
                    ..AddressGranted::default()
                });
            }
            avoid.push(grant.address.addr());
        }
    }

    async fn release_address(&self, request: ReleaseAddress) -> Answer<Nothing> {
        let (network, pool) = pool_of(&request.pool_id)?;
        let address = request.address.parse().map_err(|_| "no address")?;
        let txn = self
            .ipam
            .release_address(network, Scope::Global, &pool, address)
            .await?;
        self.commit(txn).await.map(|_| Nothing {})
    }
}

/// One host's management behind a socket of its own, as our host of plugins sees it.
fn over_the_wire(stores: Stores) -> Arc<dyn Ipam> {
    let folder = tempfile::tempdir().expect("a folder");
    let node = NodeId::random();
    let served = Served {
        store: Arc::clone(stores.of(Scope::Global)),
        ipam: Stored::new(stores, node, DefaultPool::built_in(&node), Arc::new(Vec::new)),
        node,
    };
    let listener = UnixListener::bind(folder.path().join("ours.sock")).expect("a socket");
    let places = Places {
        sockets: vec![folder.path().to_owned()],
        specifications: Vec::new(),
    };
    tokio::spawn(async move {
        // The folder is there as long as the plugin.
        let _folder = folder;
        Server::default().ipam(served).serve(listener).await
    });
    let plugin = Plugins::new(places, Limits::default()).named("ours");
    Arc::new(Remote::new(plugin, Arc::new(Vec::new)))
}

#[tokio::test]
async fn our_own_addresses_keep_their_contract_over_the_wire() {
    let memory = || -> Arc<dyn Store> { Arc::new(Memory::new()) };
    contract::run_as(Says::ByAPlugin, &over_the_wire, &memory).await;
    contract::storm(&over_the_wire, &memory(), 6, 24, 8).await;
}
