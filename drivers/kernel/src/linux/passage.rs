//! Lets what we forward pass other people's iptables rules: runs their programs, and only where their tables exist.
//!
//! `iptables-nft` keeps its rules in the nf_tables table `filter`, whose changes are announced. `iptables-legacy` has
//! tables of its own in the kernel, of which nobody hears: its callers poll.

use std::{
    fs,
    io::{self, Write as _},
    os::fd::AsFd,
    process::{Command, Stdio},
};

use model::NodeId;

use super::{Host, netns};
use crate::{
    passage::{Passage, change},
    ruleset::{Family, Table},
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

/// Opens or closes the passage in every filter table that exists; `tables` tells of those of nf_tables.
pub(super) fn open(
    host: &Host,
    node: NodeId,
    wanted: bool,
    tables: impl Fn(&Table) -> bool + Sync,
) -> io::Result<Vec<Passage>> {
    let mut passages = netns::inside(host.descriptor.as_fd(), || {
        let mut passages = Vec::new();
        for program in PROGRAMS.iter().filter(|program| exists(program, &tables)) {
            if let Some(chain) = open_one(program, node, wanted)? {
                passages.push(Passage::Opened {
                    by: program.by,
                    chain,
                });
            }
        }
        Ok(passages)
    })?;
    if wanted && tables(&Table::inet("firewalld")) {
        passages.push(Passage::Blocked {
            by: "firewalld",
            hint: "add the bridges to a zone that forwards: firewall-cmd --permanent --zone=trusted --add-interface=BRIDGE",
        });
    }
    Ok(passages)
}

fn exists(program: &Program, tables: impl Fn(&Table) -> bool) -> bool {
    match program.sign {
        Sign::Table(family) => tables(&Table {
            family,
            name: "filter".to_owned(),
        }),
        Sign::File(path) => {
            let names = fs::read_to_string(path).unwrap_or_default();
            names.lines().any(|name| name == "filter")
        }
    }
}

fn open_one(program: &Program, node: NodeId, wanted: bool) -> io::Result<Option<String>> {
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
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program}: {}", said.trim())))
}
