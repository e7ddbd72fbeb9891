//! Health checks: a command run in the container now and then, and what its exit status says of the container.
//!
//! What a probe means is decided in a pure function; one task for each container that runs does the probing, and ends
//! with it.

use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use images::Healthcheck;
use model::Timestamp;
use runtime::{Streams, spec::exec::ExecConfig};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;

use super::{Core, CreateExec, container::Container, exec};
use crate::{
    error::{Error, Result},
    record::Phase,
};

/// So much of a probe's output is kept.
const MOST_OUTPUT: usize = 4096;
/// So many probes are remembered.
const REMEMBERED: usize = 5;
/// Docker's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// What the probes say of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Not known yet.
    #[default]
    Starting,
    /// The last probe succeeded, or not enough failed since.
    Healthy,
    /// Too many failed in a row.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How a container with a health check is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What the probes say.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last probes, the oldest first.
    pub log: Vec<Probe>,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Its exit status; -1 when it was given up.
    pub exit_code: i64,
    /// What it wrote.
    pub output: String,
}

/// A check with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    command: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

/// What is recorded of a check: the user's, with the image's where the user says nothing. None for none.
///
/// # Errors
/// `Invalid` for times and numbers that can't be.
pub(super) fn merged(asked: Option<Healthcheck>, image: Option<&Healthcheck>) -> Result<Option<Healthcheck>> {
    let Some(asked) = asked.or_else(|| image.cloned()) else {
        return Ok(None);
    };
    let default = Healthcheck::default();
    let image = image.unwrap_or(&default);
    let or = |given: i64, other: i64| if given == 0 { other } else { given };
    let check = Healthcheck {
        test: if asked.test.is_empty() {
            image.test.clone()
        } else {
            asked.test
        },
        interval: or(asked.interval, image.interval),
        timeout: or(asked.timeout, image.timeout),
        start_period: or(asked.start_period, image.start_period),
        start_interval: or(asked.start_interval, image.start_interval),
        retries: or(asked.retries, image.retries),
    };
    for (name, time) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ] {
        if time != 0 && time < 1_000_000 {
            return Err(Error::invalid(format!(
                "{name} in Healthcheck cannot be less than 1ms"
            )));
        }
    }
    if check.retries < 0 {
        return Err(Error::invalid("Retries in Healthcheck cannot be negative"));
    }
    match check.test.first().map(String::as_str) {
        None | Some("") => Ok(None),
        Some("NONE" | "CMD" | "CMD-SHELL") => Ok(Some(check)),
        Some(other) => Err(
            Error::invalid(format!("Unknown healthcheck type {other:?} in Healthcheck.Test"))
                .with_hint("NONE, CMD and CMD-SHELL are there"),
        ),
    }
}

impl Plan {
    /// `shell` is the image's; none for the usual one.
    fn of(check: &Healthcheck, shell: &[String]) -> Option<Self> {
        let (kind, rest) = check.test.split_first()?;
        let usual = ["/bin/sh", "-c"].map(str::to_owned);
        let shell = if shell.is_empty() { &usual[..] } else { shell };
        let command = match kind.as_str() {
            "CMD" => rest.to_vec(),
            "CMD-SHELL" => [shell, rest].concat(),
            _ => return None,
        };
        let time = |nanos: i64, default: Duration| match u64::try_from(nanos) {
            Ok(nanos) if nanos > 0 => Duration::from_nanos(nanos),
            _ => default,
        };
        Some(Self {
            command,
            interval: time(check.interval, INTERVAL),
            timeout: time(check.timeout, TIMEOUT),
            start_period: time(check.start_period, Duration::ZERO),
            start_interval: time(check.start_interval, START_INTERVAL),
            retries: u32::try_from(check.retries)
                .ok()
                .filter(|retries| *retries > 0)
                .unwrap_or(RETRIES),
        })
    }

    /// How long until the next probe.
    fn pause(&self, status: HealthStatus, up: Duration) -> Duration {
        if status == HealthStatus::Starting && up < self.start_period {
            self.start_interval
        } else {
            self.interval
        }
    }

    /// What a probe changes; `up` is how long the container had run when it began.
    fn judge(&self, health: &Health, probe: Probe, up: Duration) -> Health {
        let failed = probe.exit_code != 0;
        let forgiven = failed && health.status == HealthStatus::Starting && up < self.start_period;
        let failing_streak = match (failed, forgiven) {
            (false, _) => 0,
            (true, true) => health.failing_streak,
            (true, false) => health.failing_streak + 1,
        };
        let status = if !failed {
            HealthStatus::Healthy
        } else if failing_streak >= self.retries {
            HealthStatus::Unhealthy
        } else {
            health.status
        };
        let mut log = health.log.clone();
        log.push(probe);
        log.drain(..log.len().saturating_sub(REMEMBERED));
        Health {
            status,
            failing_streak,
            log,
        }
    }
}

impl Health {
    /// Of a container that is started again: what was found before stays to be read.
    pub(super) fn anew(self) -> Self {
        Self {
            status: HealthStatus::Starting,
            failing_streak: 0,
            log: self.log,
        }
    }
}

impl Container {
    /// How healthy it is; none without a check, or before its first start.
    pub(super) fn healthy(&self) -> Option<Health> {
        let known = self.lock_health().clone();
        known.or_else(|| self.record().state.health.clone())
    }

    /// How it is when it has ended: Docker's clients take nothing for healthy that isn't asked any more.
    pub(super) fn no_longer_healthy(&self) -> Option<Health> {
        let health = self.healthy().map(|health| Health {
            status: HealthStatus::Unhealthy,
            ..health
        });
        self.lock_health().clone_from(&health);
        health
    }

    fn lock_health(&self) -> MutexGuard<'_, Option<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Probes a container from its start to its end, in a task of its own; one that runs since before the daemon started
/// is what it was.
pub(super) fn watch(core: &Arc<Core>, container: &Arc<Container>) {
    let record = container.record();
    let check = record.settings.health.as_ref();
    let plan = check.and_then(|check| Plan::of(check, &record.settings.shell));
    let known = record.state.health.clone();
    *container.lock_health() = plan.as_ref().map(|_| known.unwrap_or_default());
    let Some(plan) = plan else { return };
    let (core, container) = (core.clone(), container.clone());
    let run = record.state.started;
    tokio::spawn(async move {
        let mut changes = container.subscribe();
        let over = |now: &super::container::Published| {
            now.removed || !now.record.state.phase.has_process() || now.record.state.started != run
        };
        tokio::select! {
            _ = changes.wait_for(over) => {}
            () = probe_for_ever(&core, &container, &plan, run) => {}
        }
    });
}

async fn probe_for_ever(core: &Arc<Core>, container: &Arc<Container>, plan: &Plan, run: Timestamp) {
    loop {
        let status = container.healthy().unwrap_or_default().status;
        tokio::time::sleep(plan.pause(status, Timestamp::now().since(run))).await;
        if container.record().state.phase != Phase::Running {
            continue; // what is frozen has no answer
        }
        let start = Timestamp::now();
        let (exit_code, output) = probe(core, container, plan).await;
        let probe = Probe {
            start,
            end: Timestamp::now(),
            exit_code,
            output,
        };
        let before = container.healthy().unwrap_or_default();
        let health = plan.judge(&before, probe, start.since(run));
        // Who reads the new status finds its event, too.
        if health.status != before.status {
            let action = format!("health_status: {}", health.status.as_str());
            core.events.send(container.event(action, &[]));
            let recorded = core
                .registry
                .update(container, |record| record.state.health = Some(health.clone()));
            if let Err(error) = recorded.await {
                tracing::warn!(container = %container.record().name, error = %error, "recording its health");
            }
        }
        *container.lock_health() = Some(health);
    }
}

/// Runs the command once: its exit status and what it wrote.
async fn probe(core: &Arc<Core>, container: &Arc<Container>, plan: &Plan) -> (i64, String) {
    let asked = CreateExec {
        config: ExecConfig {
            cmd: plan.command.clone(),
            ..ExecConfig::default()
        },
        stdin: false,
        stdout: true,
        stderr: true,
        detach_keys: String::new(),
    };
    let id = match exec::create(core, container, asked) {
        Ok(id) => id,
        Err(error) => return (-1, error.to_string()),
    };
    let mut output = Vec::new();
    let result = tokio::time::timeout(plan.timeout, run(core, &id, &mut output)).await;
    let ended = match result {
        Ok(Ok(code)) => (code, text(&output)),
        Ok(Err(Error::Command { exit_code, message })) => (exit_code.into(), message),
        Ok(Err(error)) => (-1, error.to_string()),
        Err(_) => {
            exec::kill(core, &id).await;
            (-1, format!("Health check exceeded timeout ({:?})", plan.timeout))
        }
    };
    exec::forget(core, container, &id);
    ended
}

async fn run(core: &Arc<Core>, id: &str, output: &mut Vec<u8>) -> Result<i64> {
    let streams = Box::pin(exec::start(core, id, true, None)).await?;
    if let Some(Streams { output: from, input }) = streams {
        let mut from = from;
        // All is read, or the command would wait; the beginning is kept.
        let mut piece = vec![0; 4096];
        loop {
            let count = from
                .read(&mut piece)
                .await
                .map_err(Error::internal("reading a probe's output"))?;
            if count == 0 {
                break;
            }
            let room = (2 * MOST_OUTPUT).saturating_sub(output.len());
            output.extend_from_slice(&piece[..count.min(room)]);
        }
        drop(input);
    }
    exec::exit_code(core, id).await
}

/// The text of the frames, as far as they are kept.
fn text(mut frames: &[u8]) -> String {
    let mut text = Vec::new();
    while let Some((header, rest)) = frames.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
        text.extend_from_slice(&rest[..length]);
        frames = &rest[length..];
    }
    let long = text.len() > MOST_OUTPUT;
    text.truncate(MOST_OUTPUT);
    let mut text = String::from_utf8_lossy(&text).into_owned();
    if long {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(test: &[&str]) -> Healthcheck {
        Healthcheck {
            test: test.iter().map(|word| (*word).to_owned()).collect(),
            ..Healthcheck::default()
        }
    }

    fn probe(exit_code: i64) -> Probe {
        Probe {
            start: Timestamp::ZERO,
            end: Timestamp::ZERO,
            exit_code,
            output: String::new(),
        }
    }

    #[test]
    fn the_user_s_word_is_put_over_the_image_s() {
        let image = Healthcheck {
            interval: 5_000_000,
            retries: 7,
            ..check(&["CMD", "true"])
        };
        let asked = Healthcheck {
            retries: 2,
            ..Healthcheck::default()
        };
        let both = merged(Some(asked), Some(&image)).expect("a check").expect("one");
        assert_eq!(
            (both.test, both.interval, both.retries),
            (image.test.clone(), 5_000_000, 2)
        );
        assert_eq!(merged(None, None).expect("none"), None);
        let none = merged(Some(check(&["NONE"])), Some(&image))
            .expect("a check")
            .expect("one");
        assert_eq!(Plan::of(&none, &[]), None);
        for bad in [
            Healthcheck {
                interval: 5,
                ..check(&["CMD", "true"])
            },
            Healthcheck {
                retries: -1,
                ..check(&["CMD", "true"])
            },
            check(&["SOMETIMES"]),
        ] {
            assert!(merged(Some(bad), None).is_err());
        }
    }

    #[test]
    fn failures_count_after_the_start_period_and_success_ends_it() {
        let plan = Plan::of(
            &Healthcheck {
                start_period: 10_000_000_000,
                retries: 2,
                ..check(&["CMD-SHELL", "test -e /x"])
            },
            &[],
        )
        .expect("a plan");
        assert_eq!(plan.command, ["/bin/sh", "-c", "test -e /x"]);
        let (early, late) = (Duration::from_secs(1), Duration::from_secs(20));
        assert_eq!(plan.pause(HealthStatus::Starting, early), START_INTERVAL);
        assert_eq!(plan.pause(HealthStatus::Healthy, early), INTERVAL);
        type Row<'a> = (&'a str, &'a [(i64, Duration)], HealthStatus, u32);
        let rows: [Row<'_>; 6] = [
            (
                "failures in the start period are forgiven",
                &[(1, early), (1, early), (1, early)],
                HealthStatus::Starting,
                0,
            ),
            (
                "a success makes it healthy",
                &[(1, early), (0, early)],
                HealthStatus::Healthy,
                0,
            ),
            (
                "after one, failures count",
                &[(0, early), (1, early), (1, early)],
                HealthStatus::Unhealthy,
                2,
            ),
            (
                "one failure is not enough",
                &[(0, early), (1, late)],
                HealthStatus::Healthy,
                1,
            ),
            (
                "failures after the start period count",
                &[(1, late), (-1, late)],
                HealthStatus::Unhealthy,
                2,
            ),
            (
                "it recovers",
                &[(1, late), (1, late), (0, late)],
                HealthStatus::Healthy,
                0,
            ),
        ];
        for (name, probes, status, streak) in rows {
            let health = probes.iter().fold(Health::default(), |health, (code, up)| {
                plan.judge(&health, probe(*code), *up)
            });
            assert_eq!((health.status, health.failing_streak), (status, streak), "{name}");
        }
        let many = (0..9).fold(Health::default(), |health, code| {
            plan.judge(&health, probe(code), late)
        });
        let kept: Vec<_> = many.log.iter().map(|probe| probe.exit_code).collect();
        assert_eq!(kept, [4, 5, 6, 7, 8]);
    }

    #[test]
    fn frames_become_text() {
        assert_eq!(text(b"\x01\0\0\0\0\0\0\x02ok\x02\0\0\0\0\0\0\x03 no"), "ok no");
        let long = [&[1, 0, 0, 0, 0, 0, 0x20, 0][..], &[b'x'; 0x1ff8]].concat();
        assert_eq!(text(&long).len(), MOST_OUTPUT + 3);
    }
}
