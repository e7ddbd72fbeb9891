//! Prints what the first and the last of many bridge networks cost, in namespaces of its own:
//! `cargo run -p drivers --example growth -- 500` as root.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use drivers::{BuiltIn, Catalog as _, Driver, HostSettings, NetworkView, VXLAN_PORT};
use kernel::{Kernel, Linux, Survey};
use model::{
    DriverName, IpamConfig, Labels, Lifecycle, Network, NetworkId, NetworkName, NodeId, Pool, Scope, Subnet,
    Timestamp,
};
use nix::sched::{CloneFlags, unshare};

const LIMIT: Duration = Duration::from_secs(60);

type Answer<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn network(number: u8, part: u8) -> Answer<Network> {
    let subnet: Subnet = format!("10.{part}.{number}.0/24").parse()?;
    let pool = Pool {
        id: subnet.to_string(),
        space: None,
        subnet,
        ip_range: None,
        gateway: Some(format!("10.{part}.{number}.1").parse()?),
        aux_addresses: BTreeMap::new(),
    };
    Ok(Network {
        id: NetworkId::random(),
        name: NetworkName::new(format!("net{part}-{number}"))?,
        driver: DriverName::new("bridge")?,
        scope: Scope::Local,
        lifecycle: Lifecycle::Active,
        created: Timestamp::ZERO,
        labels: Labels::new(),
        options: Labels::new(),
        enable_ipv4: true,
        enable_ipv6: false,
        internal: false,
        attachable: true,
        predefined: false,
        ipam: IpamConfig {
            driver: DriverName::new("default")?,
            options: Labels::new(),
            subnets: Vec::new(),
        },
        vnis: Vec::new(),
        config_only: false,
        config_from: None,
        found: None,
        pools: vec![pool],
    })
}

/// Medians of the first and of the last tenth, and the sum.
#[allow(clippy::print_stdout)]
fn tell(what: &str, times: &[Duration]) {
    let tenth = (times.len() / 10).max(1);
    let median = |part: &[Duration]| {
        let mut sorted = part.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    };
    let [first, last] = [median(&times[..tenth]), median(&times[times.len() - tenth..])];
    let sum: Duration = times.iter().sum();
    println!("{first:>10.3?} at first {last:>10.3?} at last {sum:>10.3?} in all  {what}");
}

async fn each<'n, Work>(what: &str, networks: &'n [Network], work: impl Fn(&'n Network) -> Work) -> Answer
where
    Work: Future<Output = drivers::Result<()>> + 'n,
{
    let mut times = Vec::new();
    for network in networks {
        let start = Instant::now();
        work(network).await?;
        times.push(start.elapsed());
    }
    tell(what, &times);
    Ok(())
}

fn view(network: &Network) -> NetworkView {
    NetworkView {
        network: Arc::new(network.clone()),
        local: Vec::new(),
        peers: Vec::new(),
    }
}

async fn measure(driver: &dyn Driver, kernel: &dyn Kernel, node: NodeId, networks: &[Network]) -> Answer {
    each("create", networks, |network| driver.create_network(network)).await?;
    each("the host's routes", networks, async |_| {
        kernel
            .host_routes()
            .map(drop)
            .map_err(|source| drivers::Error::Kernel {
                doing: "reading routes".to_owned(),
                source: Box::new(source),
            })
    })
    .await?;
    each("create again", networks, |network| driver.create_network(network)).await?;
    let start = Instant::now();
    let survey = Arc::new(Survey::of_host(kernel, node)?);
    tell("a survey", &[start.elapsed()]);
    let surveyed = driver.knowing(&survey).ok_or("no survey")?;
    let surveyed = &*surveyed;
    each("create again, surveyed", networks, |network| {
        surveyed.create_network(network)
    })
    .await?;
    each("repair, surveyed", networks, async |network| {
        surveyed.repair(&view(network)).await
    })
    .await?;
    each("repair", networks, async |network| {
        driver.repair(&view(network)).await
    })
    .await?;
    let (one_by_one, at_once) = networks.split_at(networks.len() / 2);
    let mut times = Vec::new();
    for network in one_by_one {
        let start = Instant::now();
        driver.delete_network(network).await?;
        times.push(start.elapsed());
        kernel.settle(LIMIT);
    }
    tell("delete, with time between", &times);
    each("delete, at once", at_once, |network| {
        driver.delete_network(network)
    })
    .await
}

fn main() -> Answer {
    let count: usize = std::env::args().nth(1).map_or(Ok(200), |text| text.parse())?;
    unshare(CloneFlags::CLONE_NEWNET)?;
    let kernel: Arc<dyn Kernel> = Arc::new(Linux::here()?);
    let settings = HostSettings {
        node: NodeId::random(),
        address: [127, 0, 0, 1].into(),
        vxlan_port: VXLAN_PORT,
        exec_root: std::env::temp_dir(),
        firewall: true,
        ip_forward: true,
    };
    let catalog = BuiltIn::new(&settings, &kernel)?;
    let driver = catalog.driver("bridge").ok_or("no bridge driver")?;
    let networks = (0..count)
        .map(|at| network(u8::try_from(at % 250)?, u8::try_from(at / 250 + 1)?))
        .collect::<Answer<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(measure(&*driver, &*kernel, settings.node, &networks))?;
    kernel.settle(LIMIT);
    Ok(())
}
