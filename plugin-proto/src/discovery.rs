//! Where a plugin listens: its socket, or else its specification, by its name.
//!
//! What files there may be is pure; reading them is looked after in one place. A plugin's name is its file's name.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::error::{Error, Result};

/// A specification is one line, or a few of JSON.
const LARGEST: u64 = 64 * 1024;

/// The folders that plugins are looked for in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Of sockets.
    pub sockets: Vec<PathBuf>,
    /// Of specifications, the first to be looked at first.
    pub specifications: Vec<PathBuf>,
}

impl Default for Places {
    /// Docker's.
    fn default() -> Self {
        Self {
            sockets: vec![PathBuf::from("/run/docker/plugins")],
            specifications: ["/etc/docker/plugins", "/usr/lib/docker/plugins"]
                .map(PathBuf::from)
                .into(),
        }
    }
}

/// Where a plugin listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// At a unix socket.
    Unix(PathBuf),
    /// At a TCP port.
    Tcp {
        /// Host and port, as written.
        authority: String,
        /// With TLS.
        tls: Option<Tls>,
    },
}

/// How a plugin is talked to in private.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Tls {
    /// Anybody may be the plugin. So too without [`Self::ca_file`].
    pub insecure_skip_verify: bool,
    /// Who vouches for it.
    #[serde(rename = "CAFile")]
    pub ca_file: String,
    /// This host's own certificate.
    pub cert_file: String,
    /// Its key.
    pub key_file: String,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { authority, tls: None } => write!(f, "tcp://{authority}"),
            Self::Tcp {
                authority,
                tls: Some(_),
            } => write!(f, "tcp://{authority} with TLS"),
        }
    }
}

/// A file that would say where a plugin listens.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Candidate {
    Socket(PathBuf),
    Line(PathBuf),
    Json(PathBuf),
}

/// A plugin's name becomes a part of paths.
fn is_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name)
        && name.len() <= 128
        && !name.contains('\0')
}

/// Pure: the files in the order in which they count.
fn candidates(places: &Places, name: &str) -> Vec<Candidate> {
    let both = |folder: &PathBuf, file: String| [folder.join(&file), folder.join(name).join(&file)];
    let sockets = places
        .sockets
        .iter()
        .flat_map(|folder| both(folder, format!("{name}.sock")).map(Candidate::Socket));
    let specifications = places.specifications.iter().flat_map(|folder| {
        let lines = both(folder, format!("{name}.spec")).map(Candidate::Line);
        let objects = both(folder, format!("{name}.json")).map(Candidate::Json);
        lines.into_iter().chain(objects)
    });
    sockets.chain(specifications).collect()
}

/// Finds where a plugin listens. Quick, and may be done from async code: a handful of files on this host.
///
/// # Errors
/// `NotFound` when there is no such file, `Specification` when the one that counts can't be used.
pub fn locate(places: &Places, name: &str) -> Result<Address> {
    let not_found = || Error::NotFound {
        plugin: name.to_owned(),
    };
    if !is_name(name) {
        return Err(not_found());
    }
    let found = candidates(places, name)
        .into_iter()
        .find_map(|candidate| match candidate {
            Candidate::Socket(path) => is_socket(&path).then_some(Ok(Address::Unix(path))),
            Candidate::Line(path) => path.exists().then(|| read(name, path, line)),
            Candidate::Json(path) => path.exists().then(|| read(name, path, json)),
        });
    found.unwrap_or_else(|| Err(not_found()))
}

/// Every name that there is a file for, for those who list plugins.
pub fn names(places: &Places) -> Vec<String> {
    let folders = places.sockets.iter().chain(&places.specifications);
    let entries = folders
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten();
    let stems = entries.flatten().filter_map(|entry| {
        let name = PathBuf::from(entry.file_name());
        Some(name.file_stem()?.to_str()?.to_owned())
    });
    let mut names: Vec<_> = stems.filter(|name| locate(places, name).is_ok()).collect();
    names.sort();
    names.dedup();
    names
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

fn read(name: &str, path: PathBuf, parse: fn(&str) -> Result<Address, String>) -> Result<Address> {
    let text = match std::fs::metadata(&path) {
        Ok(metadata) if !metadata.is_file() => Err("it is not a file".to_owned()),
        Ok(metadata) if metadata.len() > LARGEST => Err("it is too long".to_owned()),
        Ok(_) => std::fs::read_to_string(&path).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    text.and_then(|text| parse(&text))
        .map_err(|reason| Error::Specification {
            plugin: name.to_owned(),
            path,
            reason,
        })
}

/// A `.spec` file.
pub(crate) fn line(text: &str) -> Result<Address, String> {
    address(text.trim(), None)
}

/// A `.json` file. `Name` in it is ignored.
pub(crate) fn json(text: &str) -> Result<Address, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Specification {
        addr: String,
        #[serde(rename = "TLSConfig")]
        tls: Option<Tls>,
    }
    let specification: Specification = serde_json::from_str(text).map_err(|error| error.to_string())?;
    address(&specification.addr, specification.tls)
}

fn address(text: &str, tls: Option<Tls>) -> Result<Address, String> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or_else(|| format!("{text:?} is not unix:///… or tcp://HOST:PORT"))?;
    let rest = rest.trim_end_matches('/');
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Address::Unix(PathBuf::from(rest))),
        "unix" => Err(format!("{text:?} has no absolute path")),
        "tcp" | "http" | "https" if has_port(rest) => Ok(Address::Tcp {
            authority: rest.to_owned(),
            tls: tls.or_else(|| (scheme == "https").then(Tls::default)),
        }),
        "tcp" | "http" | "https" => Err(format!("{text:?} has no port")),
        other => Err(format!("{other:?} is no way to talk to a plugin")),
    }
}

fn has_port(authority: &str) -> bool {
    let parts = authority.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok() && !authority.contains(['/', ' ', '@', '?', '#'])
    })
}

/// The waits between tries: 1, 2, 4, 8 … seconds, at most 30, for as long as all of them fit into `total`.
pub(crate) fn waits(total: Duration) -> impl Iterator<Item = Duration> {
    let mut sum = Duration::ZERO;
    (0u32..)
        .map(|turn| Duration::from_secs(30.min(1 << turn.min(5))))
        .take_while(move |wait| {
            sum += *wait;
            sum < total
        })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixListener};

    use proptest::prelude::*;

    use super::*;

    fn places(folder: &Path) -> Places {
        Places {
            sockets: vec![folder.join("run")],
            specifications: vec![folder.join("etc"), folder.join("lib")],
        }
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_socket_counts_before_a_line_and_a_line_before_json_and_etc_before_lib() {
        let folder = tempfile::tempdir().unwrap();
        let (root, places) = (folder.path(), places(folder.path()));
        let found = |places| locate(places, "p").unwrap().to_string();
        assert!(matches!(locate(&places, "p"), Err(Error::NotFound { .. })));
        let turns = [
            (
                "lib/p/p.json",
                r#"{"Name":"other","Addr":"tcp://h:1"}"#,
                "tcp://h:1",
            ),
            (
                "lib/p.json",
                r#"{"Addr":"tcp://h:2","TLSConfig":{}}"#,
                "tcp://h:2 with TLS",
            ),
            ("lib/p/p.spec", "tcp://h:3\n", "tcp://h:3"),
            ("lib/p.spec", "tcp://h:4", "tcp://h:4"),
            (
                "etc/p.json",
                r#"{"Addr":"tcp://h:5","TLSConfig":null}"#,
                "tcp://h:5",
            ),
            ("etc/p.spec", " unix:///tmp/p ", "unix:///tmp/p"),
        ];
        for (file, text, wanted) in turns {
            write(&root.join(file), text);
            assert_eq!(found(&places), wanted, "{file}");
        }
        for file in ["run/p/p.sock", "run/p.sock"] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            drop(UnixListener::bind(&path).unwrap());
            assert_eq!(found(&places), format!("unix://{}", path.display()));
        }
        assert_eq!(names(&places), ["p"]);
    }

    #[test]
    fn a_name_never_leads_out_of_the_folders() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("etc/p.spec"), "tcp://h:1");
        for name in ["", ".", "..", "../etc/p", "a/b", "/etc/p", "p\0", "./p", "p/"] {
            let found = locate(&places(folder.path()), name);
            assert!(matches!(found, Err(Error::NotFound { .. })), "{name:?}");
        }
    }

    #[test]
    fn a_specification_that_makes_no_sense_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let bad = [
            "",
            "h:1",
            "unix://relative",
            "tcp://h",
            "tcp://:1",
            "tcp://h:1/x",
            "npipe://x",
            "tcp://h:99999",
        ];
        for text in bad {
            write(&folder.path().join("etc/p.spec"), text);
            let error = locate(&places(folder.path()), "p").unwrap_err();
            assert!(matches!(error, Error::Specification { .. }), "{text:?}");
            assert!(error.to_string().contains("etc/p.spec"), "{error}");
        }
        fs::remove_file(folder.path().join("etc/p.spec")).unwrap();
        for text in ["", "[]", "{}", r#"{"Addr":7}"#, r#"{"Addr":"x"}"#] {
            write(&folder.path().join("etc/p.json"), text);
            assert!(matches!(
                locate(&places(folder.path()), "p"),
                Err(Error::Specification { .. })
            ));
        }
    }

    #[test]
    fn tls_is_read_from_json() {
        let text = r#"{"Addr":"https://h:1/","TLSConfig":{"InsecureSkipVerify":false,"CAFile":"/ca","CertFile":"/c",
                       "KeyFile":"/k"}}"#;
        let Ok(Address::Tcp {
            authority,
            tls: Some(tls),
        }) = json(text)
        else {
            panic!("an address with TLS")
        };
        assert_eq!(
            (
                authority.as_str(),
                tls.ca_file.as_str(),
                tls.cert_file.as_str(),
                tls.key_file.as_str()
            ),
            ("h:1", "/ca", "/c", "/k")
        );
    }

    #[test]
    fn waits_double_and_fit_into_their_time() {
        let seconds = |total| -> Vec<u64> {
            waits(Duration::from_secs(total))
                .map(|wait| wait.as_secs())
                .collect()
        };
        assert_eq!(seconds(30), [1, 2, 4, 8]);
        assert_eq!(seconds(4), [1, 2]);
        assert!(seconds(0).is_empty());
        assert_eq!(seconds(100), [1, 2, 4, 8, 16, 30, 30]);
    }

    proptest! {
        #[test]
        fn no_specification_makes_a_reader_panic(text in ".{0,200}") {
            drop(line(&text));
            drop(json(&text));
        }
    }
}
