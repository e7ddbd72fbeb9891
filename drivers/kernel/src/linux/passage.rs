//! Lets what we forward pass other people's iptables rules: runs their programs, and only where their tables exist.
//!
//! `iptables-nft` keeps its rules in the nf_tables table `filter`, whose changes are announced. `iptables-legacy` has
//! tables of its own in the kernel, of which nobody hears: its callers poll.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    os::fd::AsFd,
    process::{Command, Stdio},
};

use model::{InterfaceName, NodeId};

use super::{
    Host, firewalld, netns,
    nft::{Connection, Judge},
};
use crate::{
    Mark,
    passage::{Passage, change},
    ruleset::Family,
};

/// One of the four programs.
struct Program {
    by: &'static str,
    save: &'static str,
    restore: &'static str,
    /// What tells that its tables exist: a table of nf_tables, or a file that lists them.
    sign: Sign,
}

enum Sign {
    Table(Family),
    File(&'static str),
}

const PROGRAMS: [Program; 4] = [
    Program {
        by: "iptables",
        save: "iptables-nft-save",
        restore: "iptables-nft-restore",
        sign: Sign::Table(Family::Ip),
    },
    Program {
        by: "ip6tables",
        save: "ip6tables-nft-save",
        restore: "ip6tables-nft-restore",
        sign: Sign::Table(Family::Ip6),
    },
    Program {
        by: "iptables-legacy",
        save: "iptables-legacy-save",
        restore: "iptables-legacy-restore",
        sign: Sign::File("/proc/thread-self/net/ip_tables_names"),
    },
    Program {
        by: "ip6tables-legacy",
        save: "ip6tables-legacy-save",
        restore: "ip6tables-legacy-restore",
        sign: Sign::File("/proc/thread-self/net/ip6_tables_names"),
    },
];

/// What is asked for.
pub(super) struct Asked<'a> {
    pub(super) node: NodeId,
    /// What packets are forwarded for; none if nothing is.
    pub(super) bridges: Option<&'a BTreeSet<InterfaceName>>,
    /// Those of them that aren't in our links' group.
    pub(super) adopted: Option<&'a BTreeSet<InterfaceName>>,
    /// Only where changes are announced by nobody.
    pub(super) polled_only: bool,
}

/// Opens or closes the passage wherever somebody judges what is forwarded.
pub(super) fn open(host: &Host, asked: &Asked<'_>) -> io::Result<Vec<Passage>> {
    // Where our own rules are iptables', they come first in the tables that they are in.
    let own_legacy = host.iptables.as_ref().map(|iptables| iptables.is_legacy());
    netns::inside(host.descriptor.as_fd(), || {
        let judges = if asked.polled_only {
            Vec::new()
        } else {
            judges(asked.node)
        };
        let mut passages = Vec::new();
        for program in PROGRAMS.iter().filter(|program| exists(program, &judges)) {
            let own = own_legacy == Some(matches!(program.sign, Sign::File(_)));
            let wanted = asked.adopted.filter(|_| !own);
            let by = program.by;
            match open_one(program, asked.node, wanted) {
                Ok(chain) => passages.extend(chain.map(|chain| Passage::Opened { by, chain })),
                Err(error) => passages.push(Passage::Blocked {
                    by: by.to_owned(),
                    hint: error.to_string(),
                }),
            }
        }
        if !asked.polled_only {
            let there = judges.iter().any(Judge::is_firewalld);
            passages.extend(firewalld(host, there, asked));
            let blocked = judges.iter().filter_map(Judge::blocks);
            passages.extend(blocked.filter(|_| asked.bridges.is_some()));
        }
        Ok(passages)
    })
}

/// Whether there are tables whose changes nobody announces.
pub(super) fn is_polled(host: &Host) -> io::Result<bool> {
    netns::inside(host.descriptor.as_fd(), || {
        Ok(PROGRAMS.iter().any(|program| exists(program, &[])))
    })
}

/// Who judges what is forwarded by rules of nf_tables; nobody on a kernel without it.
fn judges(node: NodeId) -> Vec<Judge> {
    let judges = Connection::here().and_then(|mut connection| connection.judges(Mark::group(node)));
    judges.unwrap_or_else(|error| {
        tracing::debug!(%error, "listing who judges what is forwarded");
        Vec::new()
    })
}

/// Puts our bridges into a zone of a running firewalld that lets them forward.
fn firewalld(host: &Host, is_there: bool, asked: &Asked<'_>) -> Option<Passage> {
    is_there.then_some(())?;
    let nothing = BTreeSet::new();
    match host.admitted.admit(
        asked.bridges.unwrap_or(&nothing),
        asked.adopted.unwrap_or(&nothing),
    ) {
        Ok(()) => asked.bridges.map(|_| Passage::Opened {
            by: "firewalld",
            chain: format!("zone {}", firewalld::ZONE),
        }),
        Err(error) => {
            tracing::debug!(%error, "asking firewalld");
            asked.bridges.map(|_| Passage::Blocked {
                by: "firewalld".to_owned(),
                hint: format!(
                    "it could not be asked to let them forward ({error}); \"firewall-cmd --zone={} \
                     --add-interface=BRIDGE\" does it by hand",
                    firewalld::ZONE
                ),
            })
        }
    }
}

fn exists(program: &Program, judges: &[Judge]) -> bool {
    match program.sign {
        Sign::Table(family) => judges.iter().any(|judge| judge.is_iptables(family)),
        Sign::File(path) => {
            let names = fs::read_to_string(path).unwrap_or_default();
            names.lines().any(|name| name == "filter")
        }
    }
}

fn open_one(
    program: &Program,
    node: NodeId,
    wanted: Option<&BTreeSet<InterfaceName>>,
) -> io::Result<Option<String>> {
    let saved = match run(program.save, &["-t", "filter"], "") {
        // Tables without their program are somebody's who speaks to the kernel himself.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        saved => saved?,
    };
    let change = change(&saved, node, wanted);
    if let Some(script) = change.script {
        tracing::info!(program = program.by, chain = ?change.chain, "letting our packets pass other people's rules");
        run(program.restore, &["--noflush", "-w", "5"], &script)?;
    }
    Ok(change.chain)
}

/// Runs a program of iptables in the calling thread's namespace.
pub(super) fn run(program: &str, arguments: &[&str], input: &str) -> io::Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // One that ends before it has read all says why, and is waited for in any case.
    let written = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(input.as_bytes()),
        None => Ok(()),
    };
    let output = child.wait_with_output()?;
    if output.status.success() {
        written?;
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program}: {}", said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_listen_to_the_end_is_heard_and_leaves_no_zombie() {
        let more_than_a_pipe_holds = "x".repeat(1 << 20);
        let arguments = ["-c", "exec 0<&-; echo no such table >&2; exit 3"];
        let error = run("sh", &arguments, &more_than_a_pipe_holds).expect_err("it fails");
        assert_eq!(error.to_string(), "sh: no such table");
        let deaf = run("sh", &["-c", "exec 0<&-"], &more_than_a_pipe_holds).expect_err("not all was read");
        assert_eq!(deaf.kind(), io::ErrorKind::BrokenPipe);
        let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        assert_eq!(children.trim(), "");
    }
}
