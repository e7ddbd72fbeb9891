//! `update`: other limits and another restart policy, at once where it runs and for every later start.

use runtime::spec::{HostFacts, Resources};

use super::{Containers, blocking};
use crate::{
    error::{Error, Result},
    record::{Phase, RestartPolicy},
};

/// What is to be otherwise.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// Limits; those that are not said stay.
    pub resources: Resources,
    /// The restart policy; none to leave it.
    pub restart: Option<RestartPolicy>,
}

impl Containers {
    /// Changes limits and restart policy.
    ///
    /// # Errors
    /// `Invalid` for what makes no sense together; `Conflict` for one that is going; what the kernel refuses.
    pub async fn update(&self, container: &str, update: Update) -> Result<()> {
        let container = self.find(container)?;
        let core = self.core.clone();
        let _operation = container.operation.lock().await;
        let record = container.record();
        let phase = record.state.phase;
        if matches!(phase, Phase::Removing | Phase::Dead) {
            return Err(Error::conflict(
                "Container is marked for removal and cannot be \"update\".",
            ));
        }
        let cannot = |why: &str| Error::invalid(format!("Cannot update container {}: {why}", record.id));
        if record.settings.auto_remove && update.restart.is_some_and(|policy| policy != RestartPolicy::No) {
            return Err(cannot(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        let resources = merged(&record.settings.run.resources, &update.resources).map_err(cannot)?;
        let mut run = record.settings.run.clone();
        run.resources = resources.clone();
        let (runtime, id, changed) = (core.runtime.clone(), record.id, update.resources.clone());
        blocking(move || {
            runtime::spec::check(&run, &HostFacts::read())
                .map_err(|error| Error::invalid(error.to_string()))?;
            if phase.has_process() && changed != Resources::default() {
                runtime.limit(&id, &changed)?;
            }
            Ok(())
        })
        .await?;
        core.registry
            .update(&container, |record| {
                record.settings.run.resources = resources;
                if let Some(policy) = update.restart {
                    record.settings.restart = policy;
                }
            })
            .await?;
        core.events.send(container.event("update", &[]));
        Ok(())
    }
}

/// What is said replaces what was; what contradicts it is refused, as Docker does.
fn merged(old: &Resources, new: &Resources) -> std::result::Result<Resources, &'static str> {
    let refuse = |message: &'static str| Err(message);
    if new.nano_cpus.is_some() && (old.cpu_quota.is_some() || old.cpu_period.is_some()) {
        return refuse(
            "Conflicting options: Nano CPUs cannot be updated as CPU Period/Quota has already been set",
        );
    }
    if old.nano_cpus.is_some() && new.nano_cpus.is_none() && new.cpu_quota.is_some() {
        return refuse("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set");
    }
    if old.nano_cpus.is_some() && new.nano_cpus.is_none() && new.cpu_period.is_some() {
        return refuse("Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set");
    }
    if let (Some(memory), None) = (new.memory, new.memory_swap) {
        let twice = old.memory.map(|old| old.saturating_mul(2));
        if old
            .memory_swap
            .or(twice)
            .is_some_and(|swap| swap > 0 && memory > swap)
        {
            return refuse(
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
            );
        }
    }
    fn or<T: Clone>(new: &Option<T>, old: &Option<T>) -> Option<T> {
        new.clone().or_else(|| old.clone())
    }
    Ok(Resources {
        memory: or(&new.memory, &old.memory),
        memory_swap: or(&new.memory_swap, &old.memory_swap),
        memory_reservation: or(&new.memory_reservation, &old.memory_reservation),
        memory_swappiness: or(&new.memory_swappiness, &old.memory_swappiness),
        nano_cpus: or(&new.nano_cpus, &old.nano_cpus),
        cpu_shares: or(&new.cpu_shares, &old.cpu_shares),
        cpu_quota: or(&new.cpu_quota, &old.cpu_quota),
        cpu_period: or(&new.cpu_period, &old.cpu_period),
        cpuset_cpus: or(&new.cpuset_cpus, &old.cpuset_cpus),
        cpuset_mems: or(&new.cpuset_mems, &old.cpuset_mems),
        pids_limit: or(&new.pids_limit, &old.pids_limit),
        blkio_weight: or(&new.blkio_weight, &old.blkio_weight),
        // Only a new container can be given these.
        ..old.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_replaces_what_was_and_contradictions_are_refused() {
        let old = Resources {
            memory: Some(64),
            memory_swap: Some(128),
            nano_cpus: Some(1_000_000_000),
            ..Resources::default()
        };
        let limits = |memory, swap| Resources {
            memory,
            memory_swap: swap,
            ..Resources::default()
        };
        let new = merged(&old, &limits(Some(100), None)).unwrap();
        assert_eq!(
            (new.memory, new.memory_swap, new.nano_cpus),
            (Some(100), Some(128), old.nano_cpus)
        );
        assert!(merged(&old, &limits(Some(200), None)).is_err());
        assert!(merged(&old, &limits(Some(200), Some(-1))).is_ok());
        let quota = Resources {
            cpu_quota: Some(1000),
            ..Resources::default()
        };
        assert!(merged(&old, &quota).is_err());
        assert!(merged(&quota, &old).is_err());
    }
}
