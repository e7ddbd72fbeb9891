//! Namespaces come a moment after their endpoints have joined, and nobody says when: they are looked for, often at first.

use std::{sync::Arc, time::Duration};

use model::Endpoint;
use tokio::time::{Instant, sleep, timeout};

use crate::{MANAGER, Shared};

const OFTEN: Duration = Duration::from_millis(15);
/// A container is usually there within it.
const SOON: Duration = Duration::from_secs(5);
const SELDOM: Duration = Duration::from_millis(500);
/// With nothing to wait for, a look all the same.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) async fn run(shared: Arc<Shared>) {
    let mut since = Instant::now();
    loop {
        let waiting = look(&shared).await;
        let pause = match (waiting, since.elapsed() < SOON) {
            (false, _) => IDLE,
            (true, true) => OFTEN,
            (true, false) => SELDOM,
        };
        if waiting && pause == OFTEN {
            sleep(OFTEN).await;
        } else if timeout(pause, shared.joined.notified()).await.is_ok() {
            since = Instant::now();
        }
    }
}

/// Enters what has come. Answers whether something hasn't.
async fn look(shared: &Shared) -> bool {
    let mut waiting = false;
    for (sandbox, endpoints) in shared.controller.dressed.list(MANAGER) {
        let entered = sandbox.foreign().is_some_and(model::ForeignNamespace::is_entered);
        if entered && !endpoints.iter().any(is_outside) {
            continue;
        }
        match shared.controller.dressed.enter(sandbox.id).await {
            Ok(done) => waiting |= !done,
            Err(error) => {
                tracing::debug!(%error, sandbox = %sandbox.id.short(), "not entered yet");
                waiting = true;
            }
        }
    }
    waiting
}

/// Whether an endpoint's interface is not known in its sandbox.
fn is_outside(endpoint: &Arc<Endpoint>) -> bool {
    let on_host = controller::Dressed::name_on_host(endpoint.id);
    endpoint.interface.as_ref().is_none_or(|name| *name == on_host)
}
