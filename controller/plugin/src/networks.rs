//! Networks: made or joined, and let go.

use model::{NetworkId, Subnet};
use plugin_proto::network_driver::{CreateNetwork, DeleteNetwork};

use crate::{
    Shared,
    records::{self, Note},
    refusal::{Refused, Result, refused},
    wanted::{Wanted, names_differ},
};

pub(crate) async fn create(shared: &Shared, call: &CreateNetwork) -> Result<()> {
    let docker = docker_id(&call.network_id)?;
    let mut wanted = Wanted::read(call)?;
    if wanted.pools.is_empty() {
        return Err(refused(
            format!("network {:?} has no addresses", &*wanted.name),
            "leave out --ipam-driver null",
        ));
    }
    let subnets: Vec<Subnet> = wanted.pools.iter().filter_map(|pool| pool.subnet).collect();
    if wanted.own_addresses
        && let Some(other) = shared.drafts.other_name(&wanted.name, &subnets)
    {
        return Err(names_differ(&wanted.name, &other));
    }
    for pool in &mut wanted.pools {
        let range = pool
            .subnet
            .and_then(|subnet| shared.drafts.range(&wanted.name, subnet));
        pool.ip_range = range;
    }
    let network = shared.make(docker, &wanted).await?;
    for subnet in subnets {
        shared.drafts.forget(&wanted.name, subnet);
    }
    shared.called.notify_one();
    tracing::info!(network = %network.name, docker = %docker.short(), "is a network of Docker's");
    Ok(())
}

pub(crate) async fn delete(shared: &Shared, call: &DeleteNetwork) -> Result<()> {
    let docker = docker_id(&call.network_id)?;
    let Some(binding) = shared.bound(docker).await? else {
        return Ok(());
    };
    for note in notes_on(shared, docker).await? {
        forget(shared, &note).await?;
    }
    shared.unbind(binding.docker).await
}

/// Removes an endpoint that Docker doesn't know (any more): it won't give its addresses back either.
pub(crate) async fn forget(shared: &Shared, note: &Note) -> Result<()> {
    crate::endpoints::remove(shared, note.id).await?;
    let Some(network) = shared.network(note.network) else {
        return Ok(());
    };
    for address in &note.addresses {
        if let Some(pool) = network.pool_around(*address) {
            let dressed = &shared.controller.dressed;
            dressed.give_up(network.id, pool, *address).await?;
        }
    }
    Ok(())
}

/// Endpoints of a Docker network.
pub(crate) async fn notes_on(shared: &Shared, docker: NetworkId) -> Result<Vec<Note>> {
    let all = records::all(records::notes(), shared.local()).await?;
    Ok(all.into_iter().filter(|note| note.docker == docker).collect())
}

pub(crate) fn docker_id(text: &str) -> Result<NetworkId> {
    text.parse().map_err(|_| not_an_id(text))
}

pub(crate) fn not_an_id(text: &str) -> Refused {
    refused(
        format!("{text:?} is no id of Docker's"),
        "64 hexadecimal digits are",
    )
}
