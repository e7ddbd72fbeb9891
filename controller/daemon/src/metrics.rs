//! What the metrics show beyond the records: asked of the kernel, the reconciler and the name helper at each scrape.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use api::metrics::{
    FirewallObjects, LinkOwner, LinkTraffic, Metrics, NameQueries, ReconcileCounters, Seen, Traffic, World,
    serve_metrics,
};
use controller::Controller;
use kernel::{
    Linux, Owner,
    linux::statistics::{self, FirewallCounts, LinkStatistics},
};
use model::NodeId;
use names::SandboxCounts;
use tokio::{net::TcpListener, sync::watch};

use crate::name_service::Names;

/// This host, as far as the records don't tell.
#[derive(Debug)]
pub struct ThisHost {
    /// Whose links are looked for.
    pub node: NodeId,
    /// The kernel.
    pub kernel: Arc<Linux>,
    /// The reconciler's owner.
    pub controller: Arc<Controller>,
    /// The name service.
    pub names: Arc<Names>,
}

impl World for ThisHost {
    fn look(&self) -> std::pin::Pin<Box<dyn Future<Output = Seen> + Send + '_>> {
        Box::pin(async {
            let (kernel, node) = (Arc::clone(&self.kernel), self.node);
            let asked =
                tokio::task::spawn_blocking(move || (kernel.link_statistics(node), kernel.firewall_counts()));
            let (links, firewall) = match asked.await {
                Ok(answers) => answers,
                Err(error) => {
                    tracing::error!(%error, "looking at the kernel for the metrics");
                    return Seen::default();
                }
            };
            let missing = |error: &kernel::Error| tracing::warn!(%error, "left out of the metrics");
            let links = links.inspect_err(missing).unwrap_or_default();
            let done = self.controller.work();
            Seen {
                links: links.iter().filter_map(traffic).collect(),
                firewall: firewall.inspect_err(missing).ok().map(objects),
                names: self.queries().await,
                reconcile: Some(ReconcileCounters {
                    runs: done.runs,
                    failures: done.failures,
                    messages: self.kernel.messages_sent(),
                    seconds: done.busy.as_secs_f64(),
                }),
            }
        })
    }
}

impl ThisHost {
    /// What containers asked; none from a helper that is older than its counters.
    async fn queries(&self) -> Option<Vec<NameQueries>> {
        let asked = self.names.client()?.counters().await;
        let missing = |error: &names::Error| tracing::debug!(%error, "left out of the metrics");
        let of = |one: SandboxCounts| NameQueries {
            sandbox: one.sandbox,
            local: one.counts.local,
            cached: one.counts.cached,
            forwarded: one.counts.forwarded,
            failed: one.counts.failed,
        };
        let asked = asked.inspect_err(missing).ok()?;
        Some(asked.into_iter().map(of).collect())
    }
}

/// What the host receives from a container's link the container has sent; a bridge is the host's own link.
fn traffic(link: &LinkStatistics) -> Option<LinkTraffic> {
    let of = match link.owner {
        Owner::Endpoint(id) => LinkOwner::Endpoint(id),
        Owner::Network(id) => LinkOwner::Network(id),
        Owner::Sandbox(_) | Owner::Host => return None,
    };
    Some(LinkTraffic {
        of,
        received: direction(&link.sent),
        sent: direction(&link.received),
    })
}

fn direction(traffic: &statistics::Traffic) -> Traffic {
    Traffic {
        bytes: traffic.bytes,
        packets: traffic.packets,
        dropped: traffic.dropped,
    }
}

fn objects(counts: FirewallCounts) -> FirewallObjects {
    FirewallObjects {
        tables: counts.tables,
        chains: counts.chains,
        rules: counts.rules,
        sets: counts.sets,
        elements: counts.elements,
    }
}

/// Listens for `--metrics-addr`, and serves until `stop` is true.
///
/// # Errors
/// When the address can't be listened on.
pub async fn listen(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + use<>> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("--metrics-addr {address}: another address or port may be free"))?;
    Ok(async move {
        let stopped = async move {
            // An error means that nobody can ask to stop any more, which is as good.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        serve_metrics(listener, metrics, stopped)
            .await
            .with_context(|| format!("serving metrics on {address}"))
    })
}
