//! What a network needs of pools, gateway addresses and VXLAN network identifiers, as one transaction fragment.

use std::sync::Arc;

use drivers::Needs;
use ipam::{AddressRequest, Error as IpamError, Holder, Ipam, PoolRequest};
use model::{AddressFamily, NetworkId, Pool, Scope, Subnet, SubnetRequest, Vni};
use store::Txn;

use super::{request::Checked, violations};
use crate::{
    claims,
    core::Core,
    error::{Error, Result},
};

/// What was chosen. Nothing of it holds until `txn` is committed.
#[derive(Debug)]
pub(in crate::networks) struct Allocation {
    ipam: Arc<dyn Ipam>,
    pub(in crate::networks) pools: Vec<Pool>,
    pub(super) vnis: Vec<Vni>,
    pub(in crate::networks) txn: Txn,
}

impl Allocation {
    /// Tells address management that nothing of it was committed.
    pub(in crate::networks) async fn give_back(&self, id: NetworkId, scope: Scope) {
        let ipam = &self.ipam;
        for pool in &self.pools {
            if let Some(gateway) = pool.gateway {
                // Only its memory is put right: there is nothing to commit.
                let _ = ipam.release_address(id, scope, pool, gateway).await;
            }
            let _ = ipam.release_pool(id, scope, pool).await;
        }
    }
}

/// Chooses everything, or gives back what was chosen before the refusal.
pub(in crate::networks) async fn allocate(
    core: &Arc<Core>,
    checked: &Checked,
    id: NetworkId,
    needs: &Needs,
) -> Result<Allocation> {
    let ipam = core.find_ipam(&checked.ipam.driver).await?;
    let mut allocation = Allocation {
        ipam: Arc::clone(&ipam),
        pools: Vec::new(),
        vnis: Vec::new(),
        txn: Txn::new(),
    };
    let mut result = choose(core, &*ipam, checked, id, needs, &mut allocation).await;
    if result.is_ok() && !allocation.pools.is_empty() {
        result = check_routes(checked, &allocation);
    }
    match result {
        Ok(()) => Ok(allocation),
        Err(error) => {
            allocation.give_back(id, checked.scope).await;
            Err(error)
        }
    }
}

/// Routes of the network, now that all its subnets are known.
fn check_routes(checked: &Checked, allocation: &Allocation) -> Result<()> {
    let granted = allocation.pools.iter().map(|pool| pool.subnet);
    let subnets: Vec<_> = granted.chain(checked.known_subnets()).collect();
    violations::refuse_all(&violations::of_routes_between(&checked.options, &subnets))
}

async fn choose(
    core: &Arc<Core>,
    ipam: &dyn Ipam,
    checked: &Checked,
    id: NetworkId,
    needs: &Needs,
    allocation: &mut Allocation,
) -> Result<()> {
    for (family, wanted) in &checked.pools {
        let request = pool_request(core, checked, id, needs, *family, wanted, &allocation.pools);
        let grant = ipam.request_pool(&request).await?;
        allocation.txn = std::mem::take(&mut allocation.txn).and(grant.txn);
        allocation.pools.push(Pool {
            id: grant.id,
            space: grant.space,
            subnet: grant.subnet,
            ip_range: wanted.ip_range,
            gateway: grant.gateway,
            aux_addresses: wanted.aux_addresses.clone(),
        });
        let open = needs.gateway && grant.gateway.is_none() && !needs.without_gateway.contains(family);
        if open || wanted.gateway.is_some() {
            gateway(core, ipam, checked, id, wanted, allocation).await?;
        }
        let pool = allocation.pools.last().expect("a pool was granted just before");
        for address in wanted.aux_addresses.values() {
            ipam.set_aside(pool, *address).await?;
        }
    }
    if needs.vnis {
        let count = allocation.pools.len();
        let (vnis, txn) =
            claims::vnis(core, checked.scope, id, &checked.name, count, &needs.wanted_vnis).await?;
        allocation.vnis = vnis;
        allocation.txn = std::mem::take(&mut allocation.txn).and(txn);
    }
    Ok(())
}

fn pool_request(
    core: &Core,
    checked: &Checked,
    id: NetworkId,
    needs: &Needs,
    family: AddressFamily,
    wanted: &SubnetRequest,
    granted: &[Pool],
) -> PoolRequest {
    PoolRequest {
        network: id,
        network_name: checked.name.to_string(),
        scope: checked.scope,
        family,
        subnet: wanted.subnet,
        ip_range: wanted.ip_range,
        aux_addresses: wanted.aux_addresses.clone(),
        options: checked.ipam.options.clone(),
        siblings: granted.iter().map(|pool| pool.subnet).collect(),
        avoid: other_scope(core, checked.scope),
        links: needs.claims.clone(),
        shared_segment: needs.shared_segment,
    }
}

/// Subnets of the other scope's networks: a container may be on networks of both.
pub(in crate::networks) fn other_scope(core: &Core, scope: Scope) -> Vec<Subnet> {
    let snapshot = core.records.snapshot();
    let others = snapshot
        .networks
        .values()
        .filter(|network| network.scope != scope);
    others
        .flat_map(|network| network.pools.iter().map(|pool| pool.subnet))
        .collect()
}

/// The gateway's address in the pool granted last.
async fn gateway(
    core: &Core,
    ipam: &dyn Ipam,
    checked: &Checked,
    id: NetworkId,
    wanted: &SubnetRequest,
    allocation: &mut Allocation,
) -> Result<()> {
    let pool = allocation
        .pools
        .last_mut()
        .expect("a pool was granted just before");
    let request = AddressRequest {
        network: id,
        scope: checked.scope,
        pool,
        holder: Holder::Gateway(id),
        owner: None,
        node: core.node.id,
        wanted: wanted.gateway,
        mac: None,
        avoid: &[],
    };
    let grant = ipam
        .request_address(&request)
        .await
        .map_err(|error| match error {
            IpamError::AddressInUse { address, holder } => {
                Error::invalid(format!("gateway {address} is already in use by {holder}"))
                    .with_hint("choose another gateway")
            }
            other => other.into(),
        })?;
    pool.gateway = Some(grant.address.addr());
    allocation.txn = std::mem::take(&mut allocation.txn).and(grant.txn);
    Ok(())
}
