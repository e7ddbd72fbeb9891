//! Makes a network: check, allocate, record the intent, realize, record the result, publish.
//!
//! A global network and one that realizes nothing are whole after their first commit. A local one that is made in the
//! kernel has two: the intent, with names, leases and numbers in it, and the result.

pub(super) mod allocate;
pub(super) mod request;
mod segment;
pub(super) mod violations;
mod worn;

use std::sync::Arc;

use drivers::{Driver, Needs};
use model::{
    DriverName, FoundLink, InterfaceName, IpNet, Lifecycle, Network, NetworkId, NetworkName, Scope, Timestamp,
};
use store::Txn;

use self::{allocate::Allocation, request::Checked};
use super::{CreateNetwork, Created, template};
use crate::{
    claims,
    core::Core,
    endpoints::PROBE,
    error::{Error, Result},
    events::EventKind,
    lacking, leases,
    locks::LockKey,
    records,
    undo::UndoStack,
};

/// Names that users can't give: the predefined networks', and what the CLI means by "the default".
pub(super) const RESERVED: [&str; 4] = ["bridge", "host", "none", "default"];

/// How often a lost race for a subnet, an address or a number is run again.
const TURNS: usize = 32;

pub(super) async fn create(core: &Arc<Core>, request: CreateNetwork) -> Result<Created> {
    if RESERVED.contains(&request.name.as_str()) {
        let name = &request.name;
        return Err(
            Error::forbidden(format!("operation is not permitted on predefined {name} network"))
                .with_hint("choose another name"),
        );
    }
    let request = template::resolve(&core.records.snapshot(), request)?;
    let network = make(core, request, false).await?;
    Ok(Created {
        id: network.id,
        warning: String::new(),
    })
}

/// Makes a network that a user asked for, or a predefined one.
#[tracing::instrument(skip_all, fields(network = %request.name))]
pub(super) async fn make(core: &Arc<Core>, request: CreateNetwork, predefined: bool) -> Result<Arc<Network>> {
    let driver_name = request.driver.clone().unwrap_or_else(default_driver);
    let driver = core.find_driver(&driver_name).await?;
    let checked = request::check(core, request, driver_name, &*driver)?;
    if !checked.config_only {
        lacking::refuse(core, &checked.driver).await?;
    }
    core.require_store(checked.scope)?;
    let id = NetworkId::random();
    let needs = core
        .call(
            &checked.driver,
            "checking the network",
            driver.check(&checked.draft(id)),
        )
        .await?;
    let checked = checked.on(&needs.worn)?;
    let _network = core.locks.exclusive(LockKey::Network(id)).await;
    let name = LockKey::Name(checked.scope, checked.name.to_string());
    let _name = core.locks.exclusive(name).await;
    refuse_taken_name(core, &checked.name)?;
    let whole = checked.scope == Scope::Global || !driver.capabilities().addresses;
    let lifecycle = if whole {
        Lifecycle::Active
    } else {
        Lifecycle::Creating
    };
    let network = record(core, &*driver, &checked, id, &needs, lifecycle, predefined).await?;
    if whole {
        if driver.is_remote() {
            tell_of_all_hosts(core, &*driver, &network).await?;
        }
        keep_copy(core, &network).await;
        core.events.send(EventKind::Created, Arc::clone(&network));
        return Ok(network);
    }
    let mut undo = UndoStack::new();
    match realize(core, &*driver, &network, &mut undo).await {
        Ok(network) => {
            core.events.send(EventKind::Created, Arc::clone(&network));
            Ok(network)
        }
        Err(error) => Err(core.unwind(undo, error).await),
    }
}

/// A plugin is told once of a network of all hosts: here and now. If it can't have it, nobody has it.
async fn tell_of_all_hosts(core: &Arc<Core>, driver: &dyn Driver, network: &Arc<Network>) -> Result<()> {
    let creating = Network {
        lifecycle: Lifecycle::Creating,
        ..Network::clone(network)
    };
    let doing = format!("creating network {}", network.name);
    let told = core
        .call(&network.driver, doing, driver.create_network(&creating))
        .await;
    let Err(error) = told else {
        return Ok(());
    };
    let mut undo = UndoStack::new();
    undo.push(format!("removing network {}", network.name), {
        let (core, network) = (Arc::clone(core), Arc::clone(network));
        async move { super::undo_shared(&core, &network).await }
    });
    Err(core.unwind(undo, error).await)
}

fn default_driver() -> DriverName {
    DriverName::new("bridge").expect("a literal follows the rule")
}

/// Names are unique among everything this host can see, so that a name never means two networks.
pub(super) fn refuse_taken_name(core: &Core, name: &NetworkName) -> Result<()> {
    let snapshot = core.records.snapshot();
    match snapshot.networks.values().find(|network| network.name == *name) {
        Some(other) => Err(name_taken(name).with_hint(format!(
            "it is a network of the driver {} with the id {}",
            other.driver,
            other.id.short()
        ))),
        None => Ok(()),
    }
}

pub(super) fn name_taken(name: &str) -> Error {
    Error::conflict(format!("network with name {name} already exists"))
}

/// Allocates and commits the record, as often as somebody else is faster.
async fn record(
    core: &Arc<Core>,
    driver: &dyn Driver,
    checked: &Checked,
    id: NetworkId,
    needs: &Needs,
    lifecycle: Lifecycle,
    predefined: bool,
) -> Result<Arc<Network>> {
    let mut turns = TURNS;
    let mut asked = Vec::new();
    loop {
        // A plugin keeps its own books, and may take its time.
        let lock = match checked.ipam.driver.as_str() {
            "default" => Some(core.locks.exclusive(LockKey::Allocation(checked.scope)).await),
            _ => None,
        };
        let allocation = allocate::allocate(core, checked, id, needs).await?;
        let network = Arc::new(assemble(
            checked,
            id,
            &allocation,
            lifecycle,
            predefined,
            needs.found.clone(),
        ));
        leases::refuse(driver, &network)?;
        segment::refuse(driver, &network)?;
        // Only a link that was there before us can lead to anybody. Nobody else waits while it is asked; if the same
        // addresses are to be had after that, the answer holds for them.
        let worn = match needs.found {
            Some(_) => driver.wears(&network),
            None => Vec::new(),
        };
        if checked.tells_host() && driver.wears(&network).is_empty() {
            allocation.give_back(id, checked.scope).await;
            return Err(
                Error::invalid("cnm.dns.host: no gateway's address is on the host, so nobody could listen there")
                    .with_hint("leave it out, or let the bridge have an address: no gateway mode \"isolated\", no inhibit_ipv4"),
            );
        }
        if worn != asked {
            allocation.give_back(id, checked.scope).await;
            drop(lock);
            refuse_strangers(core, &worn).await?;
            asked = worn;
            turns -= 1;
            if turns == 0 {
                return Err(Error::conflict("the gateway's address changes all the time")
                    .with_hint("name one with --gateway"));
            }
            continue;
        }
        let claims = claim(checked, &network, needs)?;
        let txn = records::networks()
            .create(id, &network)
            .and(claims)
            .and(allocation.txn.clone());
        let published = Arc::clone(&network);
        let committed = core.records.commit(checked.scope, txn, move |snapshot| {
            snapshot.networks.insert(published.id, published);
        });
        let Err(error) = committed.await else {
            return Ok(network);
        };
        allocation.give_back(id, checked.scope).await;
        let lost = lost_race(core, checked, error).await?;
        turns -= 1;
        if turns == 0 {
            return Err(lost);
        }
    }
}

/// Refuses a gateway's address that somebody on an adopted bridge's segment has already: all who go by it would suffer.
async fn refuse_strangers(core: &Core, worn: &[(InterfaceName, IpNet)]) -> Result<()> {
    for (link, net) in worn {
        let (address, taken) = (
            net.addr(),
            core.worker.strangers(link.clone(), vec![net.addr()], PROBE),
        );
        let taken = match taken.await {
            Ok(taken) => taken.get(&address).copied(),
            Err(error) => {
                tracing::warn!(%link, %error, "not known whether the gateway's address is taken");
                None
            }
        };
        let Some(mac) = taken else { continue };
        let key = kernel::Key::Link(kernel::Netns::Host, link.clone());
        let bridge = core
            .worker
            .observe("looking at the bridge", vec![key.clone()])
            .await?;
        // What the host wears already is no stranger's.
        if matches!(bridge.get(&key), Some(kernel::Object::Link(own)) if own.mac == Some(mac)) {
            continue;
        }
        return Err(Error::forbidden(format!(
            "gateway {address} is already in use on the segment of {link} by the machine with the Ethernet address {mac}"
        ))
        .with_hint(
            "choose another --gateway; if containers shall go by that machine, say \
             -o com.docker.network.bridge.inhibit_ipv4=true",
        ));
    }
    Ok(())
}

/// What a failed commit means: `Ok` with the error to report in the end when another try may win.
async fn lost_race(core: &Core, checked: &Checked, error: store::Error) -> Result<Error> {
    let store::Error::Conflict { key } = &error else {
        return Err(error.into());
    };
    if *key == claims::network_name(&checked.name) {
        return Err(name_taken(&checked.name));
    }
    if key.as_str().starts_with("devices/") {
        let holder = claims::holder(core, checked.scope, key).await?;
        let by = holder.map_or_else(String::new, |claim| format!(" by network {:?}", claim.name));
        let device = key.last();
        return Err(
            Error::forbidden(format!("device name {device:?} is already in use{by}"))
                .with_hint("choose another device name"),
        );
    }
    Ok(error.into())
}

/// Names that nobody else may have: the network's, and those of its devices on this host.
fn claim(checked: &Checked, network: &Network, needs: &Needs) -> Result<Txn> {
    let name = claims::for_network(claims::network_name(&network.name), network.id, &network.name);
    let devices = needs.claims.iter().try_fold(name, |txn, device| {
        let key = claims::device(device)?;
        Ok::<_, Error>(txn.and(claims::for_network(key, network.id, &network.name)))
    })?;
    Ok(match checked.scope {
        Scope::Global => devices.and(records::changed(network.id)),
        Scope::Local => devices,
    })
}

fn assemble(
    checked: &Checked,
    id: NetworkId,
    allocation: &Allocation,
    lifecycle: Lifecycle,
    predefined: bool,
    found: Option<FoundLink>,
) -> Network {
    Network {
        id,
        name: checked.name.clone(),
        driver: checked.driver.clone(),
        scope: checked.scope,
        lifecycle,
        created: Timestamp::now(),
        labels: checked.labels.clone(),
        options: checked.options.clone(),
        enable_ipv4: checked.enable_ipv4,
        enable_ipv6: checked.enable_ipv6,
        internal: checked.internal,
        attachable: checked.attachable,
        predefined,
        ipam: checked.ipam.clone(),
        pools: allocation.pools.clone(),
        vnis: allocation.vnis.clone(),
        config_only: checked.config_only,
        config_from: checked.config_from.clone(),
        found,
    }
}

/// Makes it in the kernel and records that it is made.
async fn realize(
    core: &Arc<Core>,
    driver: &dyn Driver,
    network: &Arc<Network>,
    undo: &mut UndoStack,
) -> Result<Arc<Network>> {
    undo.push(format!("removing network {}", network.name), {
        let (core, network) = (Arc::clone(core), Arc::clone(network));
        async move { super::undo_creating(&core, &network).await }
    });
    let doing = format!("creating network {}", network.name);
    core.call(&network.driver, doing, driver.create_network(network))
        .await?;
    core.set_made(network.id, true);
    let active = Arc::new(Network {
        lifecycle: Lifecycle::Active,
        ..Network::clone(network)
    });
    let txn = records::networks().put(active.id, &active);
    let published = Arc::clone(&active);
    core.records
        .commit(network.scope, txn, move |snapshot| {
            snapshot.networks.insert(published.id, published);
        })
        .await?;
    Ok(active)
}

/// Keeps what a restart without the cluster store will list. The watch does the same for other hosts' networks.
pub(super) async fn keep_copy(core: &Core, network: &Network) {
    if !core.records.shared(network.scope) {
        return;
    }
    let txn = records::network_copies().put(network.id, network);
    if let Err(error) = core.stores.local.commit(txn).await {
        tracing::warn!(%error, network = %network.name, "keeping a copy failed");
    }
}

/// The families and subnets of a network that is made, as its draft had them.
pub(super) fn draft_parts(network: &Network) -> (Vec<model::AddressFamily>, Vec<model::Subnet>) {
    let mut families = Vec::new();
    families.extend(network.enable_ipv4.then_some(model::AddressFamily::V4));
    families.extend(network.enable_ipv6.then_some(model::AddressFamily::V6));
    (
        families,
        network
            .ipam
            .subnets
            .iter()
            .filter_map(|request| request.subnet)
            .collect(),
    )
}
