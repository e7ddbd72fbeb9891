//! Reads the records, reads the world, acts. It takes no input: signals only wake it sooner.
//!
//! Start-up, the timer, a flushed firewall and a change in the cluster store all end in the verbs that a request uses.

mod damage;
mod host_files;
mod inside_sysctls;
mod load;
mod passage;
mod ports;
mod remind;
mod repair;
mod sweep;
mod watch;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    sync::watch::{Receiver, Sender},
    task::JoinHandle,
};

use crate::{
    core::{Core, Fence},
    endpoints,
    error::Result,
    lacking, leases, networks,
};

/// The tasks behind a controller.
#[derive(Debug)]
pub(crate) struct Reconciler {
    stop: Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    watch: Mutex<kernel::Watch>,
}

/// Loads, finishes, repairs, sweeps; then goes on watching.
pub(crate) async fn start(core: &Arc<Core>) -> Result<Reconciler> {
    load::local(core).await?;
    let (heard, watch) = damage::listen(core).await;
    let told = Arc::clone(&heard);
    core.insides.tell(Some(Arc::new(move |damage| told.add(damage))));
    if let Some(store) = core.stores.global.clone() {
        watch::first(core, &*store).await;
    }
    endpoints::forget_dead_flows(core);
    repair::finish(core).await;
    if !core.records.snapshot().stale
        && let Err(error) = endpoints::republish(core).await
    {
        tracing::warn!(%error, "this host's endpoints could not be published again");
    }
    if let Err(error) = networks::ensure_predefined(core).await {
        // The log says whether the kernel could do it at all.
        lacking::look(core).await;
        return Err(error);
    }
    // A fence of the process before this one is lifted: the lease is asked for anew.
    core.set_fence(Fence::Lifted);
    repair::realize_all(core).await;
    if let Err(error) = core.worker.gathered().await {
        tracing::warn!(%error, "the firewall is not what it should be; it will be tried again");
    }
    core.set_fence(Fence::Never);
    if let Err(error) = ports::settle(core).await {
        tracing::warn!(%error, "claims of ports could not be settled; it will be tried again");
    }
    sweep::tidy(core).await;
    sweep::sweep(core).await;
    remind::all(core);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut tasks = vec![tokio::spawn(repair::run(
        Arc::clone(core),
        heard,
        stopped.clone(),
    ))];
    tasks.push(tokio::spawn(leases::keep(Arc::clone(core), stopped.clone())));
    tasks.push(tokio::spawn(look_for_modules(Arc::clone(core))));
    if let Some(store) = core.stores.global.clone() {
        tasks.extend(watch::spawn(core, &store, &stopped));
    }
    Ok(Reconciler {
        stop,
        tasks: Mutex::new(tasks),
        watch: Mutex::new(watch),
    })
}

/// Nobody waits for it: the first answers don't depend on it.
async fn look_for_modules(core: Arc<Core>) {
    lacking::look(&core).await;
}

/// Returns when the tasks are to end, also when nobody is left who could say so.
async fn asked_to_stop(stopped: &mut Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

impl Reconciler {
    /// Ends the tasks, after what they are doing right now.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = kernel::Watch::nothing();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            if let Err(error) = task.await
                && error.is_panic()
            {
                tracing::error!(%error, "a task of the reconciler panicked");
            }
        }
    }
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        // Dropped without `stop`, as when a process ends: no task outlives it.
        self.stop.send_replace(true);
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}
