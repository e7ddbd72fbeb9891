//! `/metrics`: what this daemon knows, counted for Prometheus.
//!
//! Everything is derived at the scrape: records come from the snapshot, traffic and rules from the kernel, queries from
//! the name helper. Only requests are counted here, because nobody else sees them. The text is OpenMetrics 1.0, which
//! every Prometheus since 2.5 reads. To add a metric: a row in `rows.rs`, and a panel in `deploy/grafana`.

mod requests;
mod rows;
mod serve;
mod traffic;

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    sync::Arc,
};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use engine::{Engine, Query};
use futures::future::BoxFuture;
use model::{EndpointId, NetworkId, SandboxId};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

pub(crate) use requests::count;
pub use serve::serve_metrics;

use crate::status::Refusal;
use requests::Requests;
use rows::{Kind, Row};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is known outside the records, looked at for each scrape.
pub trait World: Send + Sync + Debug {
    /// Looks. What can't be had is left out and logged: a scrape shows what there is.
    fn look(&self) -> BoxFuture<'_, Seen>;
}

/// What was seen outside the records.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The links on the host's side.
    pub links: Vec<LinkTraffic>,
    /// Our part of the firewall.
    pub firewall: Option<FirewallObjects>,
    /// The name service; none when it does not say.
    pub names: Option<Vec<NameQueries>>,
    /// The reconciler.
    pub reconcile: Option<ReconcileCounters>,
}

/// What went over one link, as the network or container behind it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkTraffic {
    /// Whose link it is.
    pub of: LinkOwner,
    /// What came to it.
    pub received: Traffic,
    /// What it sent.
    pub sent: Traffic,
}

/// Whose link it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOwner {
    /// A network's bridge: what the host itself exchanges with it, so also what is routed.
    Network(NetworkId),
    /// An endpoint's interface.
    Endpoint(EndpointId),
}

/// Counters of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets dropped.
    pub dropped: u64,
}

/// How much of the host's firewall is ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FirewallObjects {
    /// Tables.
    pub tables: u64,
    /// Chains.
    pub chains: u64,
    /// Rules.
    pub rules: u64,
    /// Sets and maps.
    pub sets: u64,
    /// Elements of sets and maps.
    pub elements: u64,
}

/// What was asked in one sandbox since its name service began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameQueries {
    /// Which sandbox.
    pub sandbox: SandboxId,
    /// Answered from names of ours.
    pub local: u64,
    /// Answered with what a server had said before.
    pub cached: u64,
    /// Sent on to servers.
    pub forwarded: u64,
    /// Refused, or without an answer from any server.
    pub failed: u64,
}

/// What the reconciler did since the daemon started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ReconcileCounters {
    /// Times that everything was compared with the records.
    pub runs: u64,
    /// Things that could not be brought to what their record says.
    pub failures: u64,
    /// Messages to the kernel, for requests and repairs alike.
    pub messages: u64,
    /// Time spent comparing and repairing, in seconds.
    pub seconds: f64,
}

/// Serves the metrics of one daemon.
#[derive(Debug)]
pub struct Metrics {
    engine: Arc<Engine>,
    world: Arc<dyn World>,
    requests: Requests,
}

impl Metrics {
    /// Over an engine and what is outside its records.
    pub fn new(engine: Arc<Engine>, world: Arc<dyn World>) -> Arc<Self> {
        Arc::new(Self {
            engine,
            world,
            requests: Requests::default(),
        })
    }

    /// Everything, now, as text.
    async fn text(&self) -> Result<String, fmt::Error> {
        let seen = self.world.look().await;
        let snapshot = self.engine.snapshot();
        let mut rows = rows::records(&snapshot, &self.containers());
        rows.extend(traffic::rows(&snapshot, &seen.links));
        rows.extend(rows::seen(&snapshot, &seen));
        rows.push(self.requests.row());
        rows.push(Row::build(&self.engine.about().version));
        encode(rows)
    }

    /// How many containers there are in each state.
    fn containers(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        let everybody = Query {
            all: true,
            ..Query::default()
        };
        for view in self.engine.containers.list(&everybody) {
            *counts.entry(view.record.state.phase.as_str()).or_default() += 1;
        }
        counts
    }
}

/// The rows as text.
fn encode(rows: Vec<Row>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("cnm");
    registry.register_collector(Box::new(Rows(rows)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// `GET /metrics`.
pub(crate) async fn scrape(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.text().await {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the metrics could not be written: {error}"),
        )
        .into_response(),
    }
}

/// One scrape's rows, handed to the encoder.
#[derive(Debug)]
struct Rows(Vec<Row>);

impl Collector for Rows {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for row in self.0.iter().filter(|row| !row.samples.is_empty()) {
            let kind = match row.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let mut family = encoder.encode_descriptor(row.name, row.help, None, kind)?;
            for (labels, value) in &row.samples {
                let metric = family.encode_family(labels)?;
                match row.kind {
                    Kind::Counter => ConstCounter::new(*value).encode(metric)?,
                    Kind::Gauge => ConstGauge::new(*value).encode(metric)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
