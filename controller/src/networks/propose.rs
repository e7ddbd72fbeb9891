//! A subnet for a network that somebody else is about to ask for: chosen as for one of ours, and not taken yet.

use std::sync::Arc;

use ipam::PoolRequest;
use model::{AddressFamily, Labels, NetworkId, Scope, Subnet};

use super::create::allocate::other_scope;
use crate::{core::Core, error::Result};

pub(super) async fn propose(
    core: &Arc<Core>,
    family: AddressFamily,
    siblings: Vec<Subnet>,
) -> Result<Subnet> {
    let scope = match core.records.clustered() {
        true => Scope::Global,
        false => Scope::Local,
    };
    let request = PoolRequest {
        network: NetworkId::random(),
        network_name: "a network to be".to_owned(),
        scope,
        family,
        subnet: None,
        ip_range: None,
        aux_addresses: std::collections::BTreeMap::new(),
        options: Labels::new(),
        siblings,
        avoid: other_scope(core, scope),
        links: Vec::new(),
        shared_segment: false,
    };
    let ipam = core.own_ipam();
    let grant = ipam.request_pool(&request).await?;
    Ok(grant.subnet)
}
