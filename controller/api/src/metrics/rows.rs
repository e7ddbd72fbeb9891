//! Metrics as rows: a name, what it means, and its samples. Pure.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use model::{AddressFamily, Endpoint, Network, Pool, Protocol, Snapshot};

use super::{NameQueries, Seen};

/// Labels of a sample.
pub(super) type Labels = Vec<(&'static str, String)>;

/// What a number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows, until the daemon or what is counted starts anew; the encoder puts `_total` behind its name.
    Counter,
    /// It is as it is now.
    Gauge,
}

/// One metric with its samples.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) samples: Vec<(Labels, f64)>,
}

impl Row {
    fn new(name: &'static str, help: &'static str, kind: Kind) -> Self {
        Self {
            name,
            help,
            kind,
            samples: Vec::new(),
        }
    }

    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Counter)
    }

    fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Gauge)
    }

    /// Which program this is.
    pub(super) fn build(version: &str) -> Self {
        Self::gauge("build_info", "The daemon's version; always 1").with([("version", version.to_owned())], 1)
    }

    /// Adds a sample. Past 2^53 it is rounded, as Prometheus rounds every sample.
    #[expect(clippy::cast_precision_loss, reason = "samples are floating point numbers")]
    pub(super) fn add(&mut self, labels: impl Into<Labels>, value: u64) {
        self.samples.push((labels.into(), value as f64));
    }

    fn with(mut self, labels: impl Into<Labels>, value: u64) -> Self {
        self.add(labels, value);
        self
    }

    fn of(mut self, counts: BTreeMap<Labels, u64>) -> Self {
        for (labels, count) in counts {
            self.add(labels, count);
        }
        self
    }
}

/// What the records tell. `containers` are how many there are in each state.
pub(super) fn records(snapshot: &Snapshot, containers: &BTreeMap<&'static str, u64>) -> Vec<Row> {
    let states = containers
        .iter()
        .map(|(state, count)| (vec![("state", (*state).to_owned())], *count));
    vec![
        Row::gauge("networks", "Networks").of(networks(snapshot)),
        Row::gauge("endpoints", "Endpoints, other hosts' included").of(endpoints(snapshot)),
        Row::gauge("sandboxes", "Sandboxes of this host").with([], snapshot.sandboxes.len() as u64),
        Row::gauge("dns_names", "Names that containers are found by").with([], names(snapshot)),
        Row::gauge("nodes", "Hosts that are known").of(nodes(snapshot)),
        Row::gauge("containers", "Containers").of(states.collect()),
        Row::gauge("published_ports", "Ports of this host that lead to a container").of(ports(snapshot)),
        Row::gauge(
            "pool_addresses_in_use",
            "Addresses of a pool that endpoints and gateways have",
        )
        .of(pools(snapshot, in_use)),
        Row::gauge("pool_addresses", "Addresses that a pool has").of(pools(snapshot, |pool, _| size(pool))),
        Row::gauge(
            "store_stale",
            "1 while the cluster store does not answer and global records are a copy",
        )
        .with([], u64::from(snapshot.stale)),
    ]
}

/// What was seen outside the records.
pub(super) fn seen(snapshot: &Snapshot, seen: &Seen) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(firewall) = &seen.firewall {
        let kinds = [
            ("table", firewall.tables),
            ("chain", firewall.chains),
            ("rule", firewall.rules),
            ("set", firewall.sets),
            ("element", firewall.elements),
        ];
        let mut row = Row::gauge("firewall_objects", "Objects of ours in the host's firewall");
        for (kind, count) in kinds {
            row.add([("kind", kind.to_owned())], count);
        }
        rows.push(row);
    }
    if let Some(names) = &seen.names {
        rows.push(queries(snapshot, names));
    }
    if let Some(work) = &seen.reconcile {
        let mut seconds = Row::counter("reconcile_duration_seconds", "Time spent comparing and repairing");
        seconds.samples.push((Vec::new(), work.seconds));
        rows.extend([
            Row::counter(
                "reconcile_runs",
                "Times that everything was compared with the kernel",
            )
            .with([], work.runs),
            Row::counter(
                "reconcile_failures",
                "Records that the kernel could not be brought to",
            )
            .with([], work.failures),
            Row::counter("kernel_messages", "Route netlink messages sent to the kernel")
                .with([], work.messages),
            seconds,
        ]);
    }
    rows
}

/// By container and by how they were answered. A sandbox without a container, as another engine may have, has its own id.
fn queries(snapshot: &Snapshot, names: &[NameQueries]) -> Row {
    let mut row = Row::counter("dns_queries", "Queries of containers by how they were answered");
    for asked in names {
        let sandbox = snapshot.sandboxes.get(&asked.sandbox);
        let container = sandbox.and_then(|sandbox| sandbox.container);
        let id = container.map_or_else(|| asked.sandbox.short(), |id| id.short());
        let name = snapshot
            .endpoints_of(&asked.sandbox)
            .next()
            .map(|endpoint| endpoint.name.clone())
            .unwrap_or_default();
        for (result, count) in [
            ("local", asked.local),
            ("cached", asked.cached),
            ("forwarded", asked.forwarded),
            ("failed", asked.failed),
        ] {
            row.add(
                [
                    ("container", name.clone()),
                    ("container_id", id.clone()),
                    ("result", result.to_owned()),
                ],
                count,
            );
        }
    }
    row
}

/// Every name that some container finds another by.
fn names(snapshot: &Snapshot) -> u64 {
    let of = |endpoint: &Arc<Endpoint>| endpoint.dns_names.len() as u64;
    snapshot.endpoints.values().map(of).sum()
}

fn tally(labels: impl Iterator<Item = Labels>) -> BTreeMap<Labels, u64> {
    let mut counts = BTreeMap::new();
    for labels in labels {
        *counts.entry(labels).or_default() += 1;
    }
    counts
}

fn networks(snapshot: &Snapshot) -> BTreeMap<Labels, u64> {
    tally(snapshot.networks.values().map(|network| {
        vec![
            ("driver", network.driver.to_string()),
            ("scope", network.scope.to_string()),
        ]
    }))
}

fn endpoints(snapshot: &Snapshot) -> BTreeMap<Labels, u64> {
    let on = |endpoint: &Endpoint| {
        let network = snapshot.networks.get(&endpoint.network)?;
        Some(vec![
            ("network", network.name.to_string()),
            ("driver", network.driver.to_string()),
        ])
    };
    tally(snapshot.endpoints.values().filter_map(|endpoint| on(endpoint)))
}

fn nodes(snapshot: &Snapshot) -> BTreeMap<Labels, u64> {
    tally(snapshot.nodes.keys().map(|id| {
        let state = if snapshot.live_nodes.contains(id) {
            "live"
        } else {
            "lost"
        };
        vec![("state", state.to_owned())]
    }))
}

fn ports(snapshot: &Snapshot) -> BTreeMap<Labels, u64> {
    let mut counts = BTreeMap::new();
    for protocol in Protocol::ALL {
        for (family, name) in [(AddressFamily::V4, "ipv4"), (AddressFamily::V6, "ipv6")] {
            let published = snapshot
                .sandboxes
                .values()
                .flat_map(|sandbox| &sandbox.ports)
                .filter(|ports| ports.protocol == protocol && ports.family() == family);
            let labels = vec![("protocol", protocol.to_string()), ("family", name.to_owned())];
            counts.insert(labels, published.map(|ports| u64::from(ports.host.count())).sum());
        }
    }
    counts
}

fn pools(snapshot: &Snapshot, count: impl Fn(&Pool, &[IpAddr]) -> u64) -> BTreeMap<Labels, u64> {
    let of = |network: &Network| {
        let endpoints = snapshot.endpoints_on(&network.id);
        let taken: Vec<IpAddr> = endpoints
            .flat_map(|endpoint| endpoint.addresses.iter().collect::<Vec<_>>())
            .map(|address| address.addr())
            .collect();
        let labels = |pool: &Pool| {
            vec![
                ("network", network.name.to_string()),
                ("subnet", pool.subnet.to_string()),
            ]
        };
        let counted: Vec<_> = network
            .pools
            .iter()
            .map(|pool| (labels(pool), count(pool, &taken)))
            .collect();
        counted
    };
    snapshot
        .networks
        .values()
        .flat_map(|network| of(network))
        .collect()
}

fn in_use(pool: &Pool, taken: &[IpAddr]) -> u64 {
    let by_endpoints = taken.iter().filter(|address| pool.subnet.contains(*address));
    by_endpoints.count() as u64 + u64::from(pool.gateway.is_some()) + pool.aux_addresses.len() as u64
}

/// How many addresses dynamic and static requests can get: of IPv4 neither the first nor the last.
fn size(pool: &Pool) -> u64 {
    let around = pool.subnet.net();
    let bits = u32::from(around.max_prefix_len() - around.prefix_len());
    let all = 1_u64.checked_shl(bits).unwrap_or(u64::MAX);
    match pool.subnet.family() {
        AddressFamily::V4 if bits > 1 => all - 2,
        AddressFamily::V4 | AddressFamily::V6 => all,
    }
}
