//! What happens when a container exits: it is cleaned up, recorded, and its policy decides how it goes on.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use model::Timestamp;
use runtime::{Exit, Shim};

use super::{Core, container::Container, release, remove, start};
use crate::record::{Phase, RestartPolicy, State};

/// How an exited container goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It stays as it is.
    Rest,
    /// It is removed.
    Remove,
    /// It is started again after this time.
    Restart(Duration),
}

/// A container that ran so long has proved itself: its next restart comes quickly again.
const PROVED: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Decides how a container that exited goes on. `state` is as it was while it ran.
pub(super) fn next(policy: RestartPolicy, auto_remove: bool, state: &State, exit: &Exit) -> Next {
    let again = match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => !state.stopped,
        RestartPolicy::OnFailure(most) => {
            !state.stopped && exit.code != 0 && (most == 0 || state.restarts < most)
        }
    };
    if again {
        let proved = exit.at.since(state.started) >= PROVED;
        Next::Restart(delay(if proved { 0 } else { state.restarts }))
    } else if auto_remove {
        Next::Remove
    } else {
        Next::Rest
    }
}

fn delay(restarts: u32) -> Duration {
    FIRST_DELAY
        .saturating_mul(1 << restarts.min(16))
        .min(LONGEST_DELAY)
}

/// Waits for the container's exit in a task of its own.
pub(super) fn watch(core: &Arc<Core>, container: &Arc<Container>, shim: Shim) {
    let (core, container) = (core.clone(), container.clone());
    tokio::spawn(async move {
        let mut pause = FIRST_DELAY;
        loop {
            match shim.wait().await {
                Ok(exit) => return Box::pin(exited(&core, &container, exit)).await,
                Err(error) => {
                    tracing::error!(container = %container.record().name, %error, "waiting for a container");
                }
            }
            // It could not be asked just now (no descriptors, say): it runs all the same, and will end.
            let mut changes = container.subscribe();
            let ended = changes.wait_for(|now| now.removed || !now.record.state.phase.has_process());
            if tokio::time::timeout(pause, ended).await.is_ok() {
                return;
            }
            pause = (pause * 2).min(LONGEST_DELAY);
        }
    });
}

/// Cleans up after an exit, records it and goes on as decided.
pub(super) async fn exited(core: &Arc<Core>, container: &Arc<Container>, exit: Exit) {
    let operation = container.operation.lock().await;
    let before = container.record();
    if !before.state.phase.has_process() {
        return;
    }
    let ran = exit.at.since(before.state.started);
    let attributes = [
        ("exitCode", exit.code.to_string()),
        ("execDuration", ran.as_secs().to_string()),
    ];
    core.events.send(container.event("die", &attributes));
    if let Err(error) = release::release(core, container).await {
        tracing::warn!(container = %before.name, error = %error, "cleaning up after an exit");
    }
    let auto_remove = before.settings.auto_remove && !container.is_kept();
    let next = match next(
        before.settings.restart,
        auto_remove,
        &container.record().state,
        &exit,
    ) {
        Next::Restart(_) if core.stopping.load(Ordering::SeqCst) => Next::Rest,
        next => next,
    };
    record(core, container, &exit, next).await;
    drop(operation);
    match next {
        Next::Rest => {}
        Next::Remove => remove_quietly(core, container).await,
        Next::Restart(delay) => restart_later(core, container, delay),
    }
}

/// Records the end of a container that ended while there was no daemon. Whether its policy starts it again, which is left
/// to the caller: others may have to be there first.
pub(super) async fn ended_meanwhile(core: &Arc<Core>, container: &Arc<Container>, exit: Exit) -> bool {
    let operation = container.operation.lock().await;
    let before = container.record();
    core.events
        .send(container.event("die", &[("exitCode", exit.code.to_string())]));
    if let Err(error) = release::release(core, container).await {
        tracing::warn!(container = %before.name, error = %error, "cleaning up after an exit");
    }
    let next = next(
        before.settings.restart,
        before.settings.auto_remove,
        &before.state,
        &exit,
    );
    record(core, container, &exit, Next::Rest).await;
    drop(operation);
    if next == Next::Remove {
        remove_quietly(core, container).await;
    }
    matches!(next, Next::Restart(_))
}

async fn record(core: &Core, container: &Container, exit: &Exit, next: Next) {
    let health = container.no_longer_healthy();
    let recorded = core.registry.note(container, |record| {
        let state = &mut record.state;
        state.health = health;
        state.phase = match next {
            // Unless somebody stopped it since that was decided.
            Next::Restart(_) if !state.stopped => Phase::Restarting,
            _ => Phase::Exited,
        };
        state.pid = None;
        state.exit_code = i64::from(exit.code);
        state.oom_killed = exit.oom_killed;
        state.finished = exit.at;
    });
    if let Err(error) = recorded.await {
        tracing::error!(container = %container.record().name, error = %error, "recording an exit");
    }
}

async fn remove_quietly(core: &Arc<Core>, container: &Arc<Container>) {
    if let Err(error) = remove::remove(core, container, true, true).await {
        tracing::warn!(container = %container.record().name, error = %error, "removing an exited container");
    }
}

/// Starts it after a pause, unless somebody stopped, started or removed it meanwhile.
pub(super) fn restart_later(core: &Arc<Core>, container: &Arc<Container>, pause: Duration) {
    let (core, container) = (core.clone(), container.clone());
    tokio::spawn(async move {
        let mut changes = container.subscribe();
        let left = changes.wait_for(|now| now.removed || now.record.state.phase != Phase::Restarting);
        if tokio::time::timeout(pause, left).await.is_ok() {
            return;
        }
        let _operation = container.operation.lock().await;
        if container.record().state.phase != Phase::Restarting {
            return;
        }
        if let Err(error) = start::launch_or_release(&core, &container, |state| state.restarts += 1).await {
            tracing::warn!(container = %container.record().name, error = %error, "restarting a container");
        }
    });
}

/// An exit that nobody saw.
pub(super) fn unseen() -> Exit {
    Exit {
        code: 255,
        oom_killed: false,
        at: Timestamp::now(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(restarts: u32, stopped: bool) -> State {
        State {
            restarts,
            stopped,
            started: Timestamp::from_unix_nanos(0),
            ..State::created()
        }
    }

    fn exit(code: i32, after: Duration) -> Exit {
        let at = Timestamp::from_unix_nanos(i64::try_from(after.as_nanos()).expect("a short time"));
        Exit {
            code,
            oom_killed: false,
            at,
        }
    }

    #[test]
    fn the_policy_decides_how_a_container_goes_on() {
        use RestartPolicy::{Always, No, OnFailure, UnlessStopped};
        let again = Next::Restart(FIRST_DELAY);
        for (name, policy, auto_remove, stopped, restarts, code, wanted) in [
            ("no policy", No, false, false, 0, 1, Next::Rest),
            ("--rm", No, true, false, 0, 0, Next::Remove),
            ("always, even after success", Always, false, false, 0, 0, again),
            (
                "always, but stopped by the user",
                Always,
                false,
                true,
                0,
                0,
                Next::Rest,
            ),
            ("unless-stopped", UnlessStopped, false, false, 0, 137, again),
            (
                "unless-stopped and stopped",
                UnlessStopped,
                false,
                true,
                0,
                137,
                Next::Rest,
            ),
            (
                "on-failure after success",
                OnFailure(0),
                false,
                false,
                0,
                0,
                Next::Rest,
            ),
            (
                "on-failure after failure",
                OnFailure(0),
                false,
                false,
                0,
                1,
                again,
            ),
            (
                "on-failure, the last try used up",
                OnFailure(3),
                false,
                false,
                3,
                1,
                Next::Rest,
            ),
        ] {
            let decided = next(
                policy,
                auto_remove,
                &state(restarts, stopped),
                &exit(code, Duration::ZERO),
            );
            assert_eq!(decided, wanted, "{name}");
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_start_anew_after_ten_good_seconds() {
        let pause = |restarts, ran| match next(
            RestartPolicy::Always,
            false,
            &state(restarts, false),
            &exit(1, Duration::from_secs(ran)),
        ) {
            Next::Restart(pause) => pause,
            other => panic!("{other:?}"),
        };
        assert_eq!(pause(0, 0), Duration::from_millis(100));
        assert_eq!(pause(3, 0), Duration::from_millis(800));
        assert_eq!(pause(40, 0), Duration::from_secs(60));
        assert_eq!(pause(40, 11), Duration::from_millis(100));
    }
}
