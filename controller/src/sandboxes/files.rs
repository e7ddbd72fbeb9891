//! Pure: the text of a sandbox's hosts and resolv.conf, and what becomes of a file that a user has edited.

use std::net::IpAddr;

use model::{DnsConfig, HostEntry, NAME_SERVER};

/// What this host's resolv.conf says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostResolver {
    pub(crate) servers: Vec<IpAddr>,
    pub(crate) search: Vec<String>,
    pub(crate) options: Vec<String>,
}

impl HostResolver {
    /// Reads resolv.conf(5): the last `search` or `domain` counts, and what is no address is left out.
    pub(crate) fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            let key = words.next();
            let rest: Vec<_> = words.map(str::to_owned).collect();
            match key {
                Some("nameserver") => resolver
                    .servers
                    .extend(rest.first().and_then(|word| address(word))),
                Some("search" | "domain") => resolver.search = rest,
                Some("options") => resolver.options.extend(rest),
                _ => {}
            }
        }
        resolver
    }

    /// Whether it names only a stub on this host, as systemd-resolved's 127.0.0.53.
    pub(crate) fn is_stub(&self) -> bool {
        !self.servers.is_empty() && self.servers.iter().all(IpAddr::is_loopback)
    }
}

fn address(word: &str) -> Option<IpAddr> {
    word.split('%').next()?.parse().ok()
}

/// The resolv.conf of a sandbox of its own: our name service, and the rest from the user or else from the host.
pub(crate) fn resolv_conf(dns: &DnsConfig, host: &HostResolver) -> String {
    let search = search(dns, host);
    let (options, ndots_from) = options(dns, host);
    let upstream = match dns.servers.is_empty() {
        true => host
            .servers
            .iter()
            .map(|server| format!("host({server})"))
            .collect::<Vec<_>>(),
        false => dns.servers.iter().map(ToString::to_string).collect(),
    };
    let mut text = format!("# Written by cnm; an edited file is left alone.\nnameserver {NAME_SERVER}\n");
    if !search.is_empty() {
        text += &format!("search {}\n", search.join(" "));
    }
    text += &format!("options {}\n", options.join(" "));
    text += &format!(
        "\n# ExtServers: [{}]\n# Option ndots from: {ndots_from}\n",
        upstream.join(" ")
    );
    text
}

/// The resolv.conf of a container in the host's namespace: the host's own, unless the user wants something else.
pub(crate) fn host_resolv_conf(dns: &DnsConfig, host: &HostResolver, host_text: &str) -> String {
    if *dns == DnsConfig::default() {
        return host_text.to_owned();
    }
    let servers = if dns.servers.is_empty() {
        &host.servers
    } else {
        &dns.servers
    };
    let options = if dns.options.is_empty() {
        &host.options
    } else {
        &dns.options
    };
    let mut text: String = servers
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    let search = search(dns, host);
    if !search.is_empty() {
        text += &format!("search {}\n", search.join(" "));
    }
    if !options.is_empty() {
        text += &format!("options {}\n", options.join(" "));
    }
    text
}

/// The user's domains, or the host's; a single `.` stands for none.
fn search(dns: &DnsConfig, host: &HostResolver) -> Vec<String> {
    match &dns.search[..] {
        [] => host.search.clone(),
        [dot] if dot == "." => Vec::new(),
        own => own.to_vec(),
    }
}

/// The user's options, or the host's, with `ndots:0` unless they have a valid `ndots` of their own: every name goes to
/// the name service as it is first.
fn options(dns: &DnsConfig, host: &HostResolver) -> (Vec<String>, &'static str) {
    let (from, whose) = match dns.options.is_empty() {
        true => (&host.options, "host"),
        false => (&dns.options, "override"),
    };
    let ndots = |option: &String| option.strip_prefix("ndots:").map(|n| n.parse::<u8>().is_ok());
    let mut options: Vec<_> = from
        .iter()
        .filter(|option| ndots(option) != Some(false))
        .cloned()
        .collect();
    if options.iter().any(|option| ndots(option) == Some(true)) {
        return (options, whose);
    }
    options.push("ndots:0".to_owned());
    (options, "internal")
}

/// The hosts file of a sandbox of its own.
pub(crate) fn hosts(
    hostname: &str,
    domainname: &str,
    extra: &[HostEntry],
    addresses: &[IpAddr],
    ipv6: bool,
) -> String {
    let mut text = String::from("127.0.0.1\tlocalhost\n");
    if ipv6 {
        text += "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
                 ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
    }
    text += &extra_lines(extra);
    let names = match (hostname, domainname) {
        ("", _) => return text,
        (host, "") => host.to_owned(),
        (host, domain) => format!("{host}.{domain} {host}"),
    };
    for address in addresses {
        text += &format!("{address}\t{names}\n");
    }
    text
}

/// The hosts file of a container in the host's namespace: the host's own and the user's lines.
pub(crate) fn host_hosts(host_text: &str, extra: &[HostEntry]) -> String {
    let end = if host_text.is_empty() || host_text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    format!("{host_text}{end}{}", extra_lines(extra))
}

fn extra_lines(extra: &[HostEntry]) -> String {
    extra
        .iter()
        .map(|entry| format!("{}\t{}\n", entry.address, entry.name))
        .collect()
}

/// What to write where `current` is found and `before` was written last; none leaves the file alone.
pub(crate) fn replace_unedited(current: Option<&str>, before: Option<&str>, now: &str) -> Option<String> {
    let untouched = current.is_none_or(|current| current.is_empty() || Some(current) == before);
    (untouched && current != Some(now)).then(|| now.to_owned())
}

/// The same for a file whose lines stand for themselves: in an edited one only our own lines go and come.
pub(crate) fn merge_lines(current: Option<&str>, before: Option<&str>, now: &str) -> Option<String> {
    let (Some(current), Some(before)) = (current, before) else {
        return replace_unedited(current, before, now);
    };
    if current == before || current.is_empty() {
        return (current != now).then(|| now.to_owned());
    }
    let (before, now): (Vec<_>, Vec<_>) = (before.lines().collect(), now.lines().collect());
    let kept = current
        .lines()
        .filter(|line| now.contains(line) || !before.contains(line));
    let new = now
        .iter()
        .copied()
        .filter(|line| !before.contains(line) && !current.lines().any(|has| has == *line));
    let merged: String = kept.chain(new).map(|line| format!("{line}\n")).collect();
    (merged != current).then_some(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn the_hosts_resolver_is_read_as_the_manual_says() {
        let text = "# comment\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\nnameserver junk\nsearch a b\n\
                    domain example.org\noptions edns0 trust-ad\n;x\n";
        let resolver = HostResolver::parse(text);
        assert_eq!(resolver.servers.len(), 2);
        assert_eq!(resolver.search, ["example.org"]);
        assert_eq!(resolver.options, ["edns0", "trust-ad"]);
        assert!(!resolver.is_stub());
        assert!(HostResolver::parse("nameserver 127.0.0.53").is_stub());
        assert!(!HostResolver::parse("").is_stub());
    }

    #[test]
    fn a_sandbox_asks_our_name_service_with_the_hosts_domains_and_ndots_0() {
        let host = HostResolver::parse("nameserver 10.0.0.2\nsearch example.org\noptions edns0 ndots:x\n");
        assert_eq!(
            resolv_conf(&DnsConfig::default(), &host),
            "# Written by cnm; an edited file is left alone.\nnameserver 127.0.0.11\nsearch example.org\n\
             options edns0 ndots:0\n\n# ExtServers: [host(10.0.0.2)]\n# Option ndots from: internal\n"
        );
    }

    #[test]
    fn what_the_user_says_about_names_goes_before_the_host() {
        let host = HostResolver::parse("nameserver 10.0.0.2\nsearch example.org\noptions edns0\n");
        let dns = DnsConfig {
            servers: vec!["9.9.9.9".parse().unwrap()],
            search: texts(&["."]),
            options: texts(&["ndots:2"]),
        };
        assert_eq!(
            resolv_conf(&dns, &host),
            "# Written by cnm; an edited file is left alone.\nnameserver 127.0.0.11\noptions ndots:2\n\n\
             # ExtServers: [9.9.9.9]\n# Option ndots from: override\n"
        );
        assert_eq!(
            host_resolv_conf(&dns, &host, "x"),
            "nameserver 9.9.9.9\noptions ndots:2\n"
        );
        assert_eq!(
            host_resolv_conf(&DnsConfig::default(), &host, "as it is\n"),
            "as it is\n"
        );
    }

    #[test]
    fn a_container_finds_itself_and_what_was_added() {
        let extra = [HostEntry {
            name: "db".to_owned(),
            address: "10.9.9.9".parse().unwrap(),
        }];
        let addresses = ["172.18.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        assert_eq!(
            hosts("web", "", &extra, &addresses, false),
            "127.0.0.1\tlocalhost\n10.9.9.9\tdb\n172.18.0.2\tweb\nfd00::2\tweb\n"
        );
        assert!(
            hosts("web", "example.org", &[], &addresses[..1], true)
                .ends_with("172.18.0.2\tweb.example.org web\n")
        );
        assert_eq!(
            host_hosts("127.0.0.1 localhost", &extra),
            "127.0.0.1 localhost\n10.9.9.9\tdb\n"
        );
    }

    #[test]
    fn an_edited_file_is_left_alone() {
        let rows = [
            (None, None, Some("now")),
            (Some("before"), Some("before"), Some("now")),
            (Some(""), Some("before"), Some("now")),
            (Some("edited"), Some("before"), None),
            (Some("edited"), None, None),
            (Some("now"), Some("now"), None),
        ];
        for (current, before, expected) in rows {
            assert_eq!(
                replace_unedited(current, before, "now").as_deref(),
                expected,
                "{current:?} {before:?}"
            );
        }
    }

    #[test]
    fn in_an_edited_hosts_file_only_our_own_lines_go_and_come() {
        let merged = merge_lines(Some("a\nmine\nb\n"), Some("a\nb\n"), "a\nc\n");
        assert_eq!(merged.as_deref(), Some("a\nmine\nc\n"));
        assert_eq!(
            merge_lines(Some("a\n"), Some("a\n"), "b\n").as_deref(),
            Some("b\n")
        );
        assert_eq!(merge_lines(Some("mine\na\n"), Some("a\n"), "a\n"), None);
    }
}
