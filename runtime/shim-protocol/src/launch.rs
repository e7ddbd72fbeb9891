//! What a shim is told when it is launched: one file, kept so that a restarted daemon finds the shim by it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Everything a shim must know beside the OCI bundle's `config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The version of who wrote it.
    pub version: u32,
    /// The container's id.
    pub id: String,
    /// The bundle: `config.json` is there, and the exit record goes there.
    pub bundle: PathBuf,
    /// The socket to serve.
    pub socket: PathBuf,
    /// A directory of the shim's own, removed at the end.
    pub state: PathBuf,
    /// The container's cgroup below each hierarchy, as in `config.json`.
    pub cgroup: String,
    /// One terminal instead of three streams.
    pub tty: bool,
    /// Whether the container's input stays open for clients.
    pub open_stdin: bool,
    /// Whether the first attached client's end of input is the container's.
    pub stdin_once: bool,
    /// The log, unless output is not kept.
    pub log: Option<LogFile>,
    /// A first process of ours looks after the command: it passes signals on and buries the dead.
    #[serde(default)]
    pub init: bool,
    /// Where each line of output goes besides.
    #[serde(default)]
    pub forward: Option<Forward>,
    /// The users' namespace that the container is in, if not the host's.
    #[serde(default)]
    pub users: Option<Users>,
}

/// What users and groups of a container are on the host: ranges, one behind the other, by the first and how many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// Users.
    pub uids: Vec<(u32, u32)>,
    /// Groups.
    pub gids: Vec<(u32, u32)>,
}

impl Users {
    /// What a user and a group of the container are on the host; root's where they are nothing.
    pub fn outside(&self, uid: u32, gid: u32) -> (u32, u32) {
        let find = |ranges: &[(u32, u32)], number: u32| {
            let mut rest = number;
            for (first, count) in ranges {
                if rest < *count {
                    return first + rest;
                }
                rest -= count;
            }
            0
        };
        (find(&self.uids, uid), find(&self.gids, gid))
    }
}

/// A log of somebody else's that each line goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Whose.
    pub to: ForwardTo,
    /// What the lines are called there.
    pub tag: String,
    /// Further fields of each line, where there can be.
    pub fields: Vec<(String, String)>,
}

/// Whose log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardTo {
    /// systemd's journal, at this socket.
    Journal(PathBuf),
    /// A syslog daemon, at this socket or address (`unix:///dev/log`, `udp://10.0.0.1:514`, `tcp://10.0.0.1:514`,
    /// `tcp+tls://10.0.0.1:6514`).
    Syslog {
        /// Where.
        address: String,
        /// The number of a facility, such as 3 for daemons.
        facility: u8,
        /// RFC 5424 instead of the older form.
        structured: bool,
        /// Who is there and who we are, where the address says TLS.
        #[serde(default)]
        tls: Option<SyslogTls>,
    },
}

/// What TLS to a syslog daemon needs. The files are the host's, and are read at each start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyslogTls {
    /// Who vouches for it, besides those whom the host trusts.
    pub authority: Option<PathBuf>,
    /// Our certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Whoever answers is taken.
    pub anybody: bool,
}

/// A json-file log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// The file written to; rotated ones get `.1`, `.2`, … appended.
    pub path: PathBuf,
    /// A file is rotated when it would grow beyond so many bytes.
    pub max_size: Option<u64>,
    /// How many files are kept, the current one included; at least one.
    pub max_files: u32,
    /// Whether turned files are packed.
    #[serde(default)]
    pub compress: bool,
    /// What stands with each line: labels, variables and the tag that the user wants there.
    #[serde(default)]
    pub attrs: BTreeMap<String, String>,
}

/// The paths a container's shim has below an exec-root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The [`Launch`] file.
    pub launch: PathBuf,
    /// The socket.
    pub socket: PathBuf,
    /// The shim's own directory.
    pub state: PathBuf,
}

impl Paths {
    /// Those of the container `id`.
    pub fn new(exec_root: &Path, id: &str) -> Self {
        let directory = exec_root.join("shim");
        Self {
            launch: directory.join(format!("{id}.json")),
            socket: directory.join(format!("{id}.sock")),
            state: directory.join(id),
        }
    }
}
