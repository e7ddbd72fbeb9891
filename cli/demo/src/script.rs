//! What is played: networks across hosts if there are two, networks within one in any case.

mod bridge;
mod overlay;

use anyhow::ensure;
use netlab::Finished;

use crate::{checks::Checks, screen::Screen, stage::Stage};

/// Plays everything. A check that fails is recorded, and the play goes on; what can't go on is an error.
pub(crate) fn play(stage: &Stage, screen: &Screen, checks: &mut Checks, keep: bool) -> anyhow::Result<()> {
    let mut play = Play {
        stage,
        screen,
        checks,
    };
    let clustered = play.stage.hosts() > 1;
    if clustered {
        overlay::play(&mut play)?;
    }
    bridge::play(&mut play)?;
    if !keep {
        bridge::clear(&mut play)?;
        if clustered {
            overlay::clear(&mut play)?;
        }
    }
    Ok(())
}

/// Everything a scene needs.
struct Play<'a> {
    stage: &'a Stage,
    screen: &'a Screen,
    checks: &'a mut Checks,
}

impl Play<'_> {
    /// Types a line, split at spaces, which must succeed for the play to go on. Answers what it printed.
    fn must(&self, host: usize, line: &str) -> anyhow::Result<String> {
        self.must_words(host, &words(line))
    }

    fn must_words(&self, host: usize, words: &[&str]) -> anyhow::Result<String> {
        self.stage.type_at(host, words, self.screen)?.ok()
    }

    /// Types a line until it succeeds, and records whether it did.
    fn works(&mut self, sentence: &str, host: usize, line: &str) -> anyhow::Result<()> {
        self.shows(sentence, host, line, "")
    }

    /// Types a line until its output contains a text, and records whether it did.
    fn shows(&mut self, sentence: &str, host: usize, line: &str, text: &str) -> anyhow::Result<()> {
        let wanted = |finished: &Finished| {
            let printed = finished.clone().ok()?;
            ensure!(
                printed.contains(text),
                "{text:?} is not in what it printed: {printed}"
            );
            Ok(())
        };
        let met = self.stage.type_until(host, &words(line), self.screen, wanted);
        self.checks.record(sentence, proceed(met)?.map(drop));
        Ok(())
    }

    /// Types a line once, and records whether it failed with a complaint that contains a text.
    fn fails(&mut self, sentence: &str, host: usize, line: &str, text: &str) -> anyhow::Result<()> {
        let finished = self.stage.type_at(host, &words(line), self.screen)?;
        let printed = format!("{}{}", finished.stdout, finished.stderr);
        let failed = finished.failed().and_then(|_| {
            ensure!(
                printed.contains(text),
                "{text:?} is not in what it printed: {printed}"
            );
            Ok(())
        });
        self.checks.record(sentence, failed);
        Ok(())
    }

    /// The address of a container on a network.
    fn address(&self, host: usize, container: &str, network: &str) -> anyhow::Result<String> {
        let format = format!("{{{{.NetworkSettings.Networks.{network}.IPAddress}}}}");
        self.must_words(host, &["cnm", "inspect", "-f", &format, container])
    }

    /// Starts a container that serves its name over HTTP.
    fn serve(&self, host: usize, network: &str, name: &str) -> anyhow::Result<String> {
        let page = format!("echo hello from {name} > /var/www/index.html; exec httpd -f -h /var/www");
        self.must_words(
            host,
            &[
                "cnm", "run", "-d", "--net", network, "--name", name, "busybox", "sh", "-c", &page,
            ],
        )
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// A failed check goes on to the table; an interrupt ends the play.
fn proceed<T>(met: anyhow::Result<T>) -> anyhow::Result<anyhow::Result<T>> {
    match met {
        Err(error) if error.is::<netlab::Interrupted>() => Err(error),
        met => Ok(met),
    }
}
