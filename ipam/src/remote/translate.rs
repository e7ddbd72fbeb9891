//! Pure: what is asked of a plugin, and what its answers mean.

use std::{collections::BTreeMap, net::IpAddr};

use model::{AddressFamily, IpNet, Pool, Scope, Subnet};
use plugin_proto::ipam_driver::{
    ADDRESS_TYPE, AddressGranted, AddressSpaces, ENDPOINT_NAME, GATEWAY, MAC_ADDRESS, PoolGranted,
    RequestAddress, RequestPool,
};
use store::Txn;

use crate::{AddressRequest, Holder, PoolGrant, PoolRequest};

/// A pool's id is in the network's record.
const LONGEST_ID: usize = 4096;

pub(super) fn request_pool(request: &PoolRequest, spaces: &AddressSpaces) -> RequestPool {
    let space = match request.scope {
        Scope::Local => &spaces.local_default_address_space,
        Scope::Global => &spaces.global_default_address_space,
    };
    let text = |subnet: Option<Subnet>| subnet.map(|subnet| subnet.to_string()).unwrap_or_default();
    RequestPool {
        address_space: space.clone(),
        pool: text(request.subnet),
        sub_pool: text(request.ip_range),
        options: request.options.clone().into_iter().collect(),
        v6: request.family == AddressFamily::V6,
    }
}

pub(super) fn pool(answer: &PoolGranted, space: &str, family: AddressFamily) -> Result<PoolGrant, String> {
    if answer.pool_id.len() > LONGEST_ID {
        return Err(format!("the pool's id has {} bytes", answer.pool_id.len()));
    }
    let net: IpNet = answer
        .pool
        .parse()
        .map_err(|_| format!("{:?} is no subnet", answer.pool))?;
    let subnet = Subnet::around(net);
    if subnet.family() != family {
        return Err(format!("{subnet} is not of {family}"));
    }
    let gateway = match answer.data.get(GATEWAY).map(String::as_str) {
        None | Some("") => None,
        Some(text) => Some(inside(text, subnet)?.addr()),
    };
    Ok(PoolGrant {
        id: answer.pool_id.clone(),
        space: Some(space.to_owned()),
        subnet,
        gateway,
        txn: Txn::new(),
    })
}

fn inside(text: &str, subnet: Subnet) -> Result<IpNet, String> {
    let net: IpNet = text
        .parse()
        .map_err(|_| format!("{text:?} is no address with a prefix length"))?;
    match subnet.contains(&net.addr()) {
        true => Ok(net),
        false => Err(format!("{net} is not in {subnet}")),
    }
}

pub(super) fn request_address(request: &AddressRequest<'_>) -> RequestAddress {
    let mut options = options(Some(&request.holder));
    if let Some(mac) = request.mac {
        options.insert(MAC_ADDRESS.to_owned(), mac.to_string());
    }
    RequestAddress {
        pool_id: request.pool.id.clone(),
        address: request
            .wanted
            .map(|address| address.to_string())
            .unwrap_or_default(),
        options,
    }
}

/// Of one address and no other: set aside, or asked for again.
pub(super) fn held_address(pool: &Pool, holder: Option<&Holder>, address: IpAddr) -> RequestAddress {
    RequestAddress {
        pool_id: pool.id.clone(),
        address: address.to_string(),
        options: options(holder),
    }
}

fn options(holder: Option<&Holder>) -> BTreeMap<String, String> {
    let (key, value) = match holder {
        Some(Holder::Gateway(_)) => (ADDRESS_TYPE, GATEWAY),
        Some(Holder::Endpoint(_, name)) => (ENDPOINT_NAME, name.as_str()),
        None => return BTreeMap::new(),
    };
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

pub(super) fn address(answer: &AddressGranted, subnet: Subnet) -> Result<IpNet, String> {
    match answer.address.as_str() {
        "" => Err("no address returned".to_owned()),
        text => inside(text, subnet),
    }
}

/// What has to be given back of an answer that makes no sense.
pub(super) fn plain_address(answer: &AddressGranted) -> Option<IpAddr> {
    let text = answer.address.split('/').next()?;
    text.parse().ok()
}
