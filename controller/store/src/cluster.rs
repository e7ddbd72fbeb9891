//! A cluster store by its URL: `etcd://HOST:PORT[,HOST:PORT…][/PREFIX]` or `consul://…`.

use std::sync::Arc;

use crate::{Key, Store};

/// Keys are under this when the URL names no prefix.
const PREFIX: &str = "cnm";

/// A URL that names no store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cluster store {url:?}: {reason}")]
pub struct UrlError {
    url: String,
    reason: String,
    hint: String,
}

impl UrlError {
    /// What to write instead.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

/// A URL taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Url<'a> {
    scheme: &'a str,
    addresses: Vec<String>,
    prefix: String,
}

/// Names a store. It is connected at first use: one that is not there yet is no error.
pub fn open(url: &str) -> Result<Arc<dyn Store>, UrlError> {
    let parsed = parse(url)?;
    match parsed.scheme {
        #[cfg(feature = "etcd")]
        "etcd" => Ok(Arc::new(crate::etcd::Etcd::connect(
            &parsed.addresses,
            &parsed.prefix,
        ))),
        #[cfg(feature = "consul")]
        "consul" => Ok(Arc::new(crate::consul::Consul::connect(
            &parsed.addresses,
            &parsed.prefix,
        ))),
        scheme => Err(unknown(url, scheme)),
    }
}

fn error(url: &str, reason: impl Into<String>, hint: impl Into<String>) -> UrlError {
    UrlError {
        url: url.to_owned(),
        reason: reason.into(),
        hint: hint.into(),
    }
}

fn unknown(url: &str, scheme: &str) -> UrlError {
    let reason = format!("there is no store {scheme:?}");
    let hint = match scheme {
        "zk" | "zookeeper" => "ZooKeeper is not supported yet: use etcd:// or consul://",
        "http" | "https" => "name the kind of store, as in etcd://HOST:2379 or consul://HOST:8500",
        _ => "the stores are etcd:// and consul://",
    };
    error(url, reason, hint)
}

fn parse(url: &str) -> Result<Url<'_>, UrlError> {
    let example = "write it as etcd://HOST:2379 or consul://HOST:8500; several hosts are separated by commas";
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| error(url, "it has no scheme", example))?;
    let Some(port) = default_port(scheme) else {
        return Err(unknown(url, scheme));
    };
    let (hosts, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let addresses = hosts.split(',').map(|host| {
        address(host, port).ok_or_else(|| error(url, format!("{host:?} is no HOST:PORT"), example))
    });
    let addresses = addresses.collect::<Result<_, _>>()?;
    let prefix = match prefix.trim_end_matches('/') {
        "" => PREFIX.to_owned(),
        prefix => {
            let keep = "a prefix is made of letters, digits and ._:- in segments separated by /";
            let key: Key = prefix
                .parse()
                .map_err(|_| error(url, format!("{prefix:?} is no prefix"), keep))?;
            key.to_string()
        }
    };
    Ok(Url {
        scheme,
        addresses,
        prefix,
    })
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "etcd" => Some(2379),
        "consul" => Some(8500),
        _ => None,
    }
}

/// `HOST:PORT`, with the default port where there is none. IPv6 addresses stand in brackets.
fn address(text: &str, port: u16) -> Option<String> {
    let after_host = text.rfind(']').map_or(0, |at| at + 1);
    let (host, given) = match text[after_host..].split_once(':') {
        Some((rest, given)) => (format!("{}{rest}", &text[..after_host]), Some(given)),
        None => (text.to_owned(), None),
    };
    let port = given.map_or(Ok(port), str::parse).ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let valid = match bracketed {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(plain),
    };
    (valid && port != 0).then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_hosts_ports_and_prefix() {
        let rows = [
            ("etcd://a", vec!["a:2379"], "cnm"),
            (
                "etcd://10.0.0.1:2379,b:4001/",
                vec!["10.0.0.1:2379", "b:4001"],
                "cnm",
            ),
            (
                "consul://[2001:db8::1],c:1/my/net",
                vec!["[2001:db8::1]:8500", "c:1"],
                "my/net",
            ),
        ];
        for (url, addresses, prefix) in rows {
            let parsed = parse(url).unwrap();
            assert_eq!(
                (parsed.addresses, parsed.prefix.as_str()),
                (addresses.iter().map(ToString::to_string).collect(), prefix)
            );
        }
    }

    #[tokio::test]
    async fn what_names_no_store_is_refused_with_a_hint() {
        let rows = [
            ("a:2379", r#"cluster store "a:2379": it has no scheme"#),
            (
                "zk://a:2181",
                r#"cluster store "zk://a:2181": there is no store "zk""#,
            ),
            ("etcd://", r#"cluster store "etcd://": "" is no HOST:PORT"#),
            (
                "etcd://a:b",
                r#"cluster store "etcd://a:b": "a:b" is no HOST:PORT"#,
            ),
            (
                "etcd://a:0",
                r#"cluster store "etcd://a:0": "a:0" is no HOST:PORT"#,
            ),
            (
                "etcd://u@a",
                r#"cluster store "etcd://u@a": "u@a" is no HOST:PORT"#,
            ),
            (
                "etcd://a,,b",
                r#"cluster store "etcd://a,,b": "" is no HOST:PORT"#,
            ),
            (
                "consul://a/x y",
                r#"cluster store "consul://a/x y": "x y" is no prefix"#,
            ),
        ];
        for (url, text) in rows {
            let error = open(url).err().unwrap();
            assert_eq!(error.to_string(), text);
            assert!(!error.hint().is_empty());
        }
    }

    #[tokio::test]
    #[cfg(all(feature = "etcd", feature = "consul"))]
    async fn a_store_that_is_not_there_is_named_and_nothing_is_asked_of_it() {
        for url in ["etcd://127.0.0.1:1", "consul://127.0.0.1:1"] {
            let store = open(url).unwrap();
            let error = store.get(&Key::root("a")).await.unwrap_err().to_string();
            assert!(error.ends_with("store at 127.0.0.1:1 does not answer"), "{error}");
        }
    }
}
