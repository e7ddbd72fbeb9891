//! `top` and `stats`: the processes of a container and what they use.

use model::Timestamp;
use runtime::stats::{self, HostUsage, Usage};

use super::{Containers, blocking, container::Container, stop};
use crate::{
    error::{Error, Result},
    record::Phase,
};

/// What a container used at a moment.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its id.
    pub id: model::ContainerId,
    /// Its name.
    pub name: model::ContainerName,
    /// When.
    pub at: Timestamp,
    /// What it used; none when it does not run.
    pub used: Option<(Usage, HostUsage)>,
}

/// Processes as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes {
    /// Column heads.
    pub titles: Vec<String>,
    /// A row per process.
    pub rows: Vec<Vec<String>>,
}

impl Containers {
    /// What a container uses now.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn sample(&self, container: &str) -> Result<Sample> {
        let container = self.find(container)?;
        let core = self.core.clone();
        blocking(move || {
            let record = container.record();
            let used = record
                .state
                .phase
                .has_process()
                .then(|| (core.runtime.usage(&record.id, record.state.pid), stats::host()));
            Ok(Sample {
                id: record.id,
                name: record.name.clone(),
                at: Timestamp::now(),
                used,
            })
        })
        .await
    }

    /// The processes of a container. `arguments` are those of `ps`; with none, or those of `ps -ef`, the host needs
    /// no such program.
    ///
    /// # Errors
    /// `Conflict` when it doesn't run; `Invalid` for arguments that `ps` refuses or that hide the pids.
    pub async fn processes(&self, container: &str, arguments: &str) -> Result<Processes> {
        let container = self.find(container)?;
        check_runs(&container)?;
        let core = self.core.clone();
        let id = container.id();
        let pids = blocking(move || Ok(core.runtime.processes(&id))).await?;
        if pids.is_empty() {
            // Its first process is the last to go: it ended in this moment.
            return Err(stop::not_running(&container));
        }
        let processes = match arguments.trim() {
            "" | "-ef" => Processes {
                titles: runtime::processes::TITLES.map(str::to_owned).to_vec(),
                rows: blocking(move || Ok(runtime::processes::list(&pids))).await?,
            },
            arguments => of_program(arguments, &pids).await?,
        };
        self.core.events.send(container.event("top", &[]));
        Ok(processes)
    }
}

fn check_runs(container: &Container) -> Result<()> {
    match container.record().state.phase {
        Phase::Running | Phase::Paused => Ok(()),
        Phase::Restarting => Err(Error::conflict(format!(
            "container {} is restarting, wait until the container is running",
            container.id()
        ))),
        _ => Err(Error::conflict(format!(
            "container {} is not running",
            container.id()
        ))),
    }
}

/// Asks the host's own program, as Docker does, and keeps the container's lines.
async fn of_program(arguments: &str, pids: &[i32]) -> Result<Processes> {
    let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
    let output = blocking(move || {
        let run = std::process::Command::new("ps").args(&arguments).output();
        run.map_err(Error::internal(
            "running ps (the host needs the program for its options)",
        ))
    })
    .await?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let first = text
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("it failed");
        return Err(Error::invalid(format!("ps: {first}")));
    }
    select(&String::from_utf8_lossy(&output.stdout), pids)
}

/// The lines of those pids. The last column has the rest of its line.
fn select(output: &str, pids: &[i32]) -> Result<Processes> {
    let mut lines = output.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let at = titles.iter().position(|title| title == "PID");
    let at = at.ok_or_else(|| Error::invalid("Couldn't find PID field in ps output"))?;
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let pid: i32 = words.get(at)?.parse().ok()?;
        let (head, tail) = words.split_at(words.len().min(titles.len() - 1));
        let mut row: Vec<String> = head.iter().map(|word| (*word).to_owned()).collect();
        row.push(tail.join(" "));
        pids.contains(&pid).then_some(row)
    };
    Ok(Processes {
        rows: lines.filter_map(row).collect(),
        titles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ps_are_split_into_their_columns() {
        let output =
            "  PID USER     COMMAND\n    1 root     init of the host\n   42 root     sh -c sleep 1\n";
        let found = select(output, &[42]).unwrap();
        assert_eq!(found.titles, ["PID", "USER", "COMMAND"]);
        assert_eq!(found.rows, [["42", "root", "sh -c sleep 1"]]);
        assert!(select("USER\nroot\n", &[42]).is_err());
    }
}
