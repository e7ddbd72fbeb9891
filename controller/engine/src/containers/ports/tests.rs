use super::*;
use crate::containers::testing;

/// `[ip=]HOST:CONTAINER/PROTOCOL`; `*` as the host's ports are any.
fn binding(text: &str) -> PortBinding {
    let (ip, rest) = text.split_once('=').map_or((None, text), |(ip, rest)| {
        (Some(ip.parse().expect("an address")), rest)
    });
    let (host, rest) = rest.split_once(':').expect("a host part");
    let (container, protocol) = rest.split_once('/').unwrap_or((rest, "tcp"));
    PortBinding {
        protocol: protocol.parse().expect("a protocol"),
        container: container.parse().expect("ports"),
        host_ip: ip,
        host: (host != "*").then(|| host.parse().expect("ports")),
        exposure: None,
    }
}

fn bindings(texts: &[&str]) -> Vec<PortBinding> {
    texts.iter().map(|text| binding(text)).collect()
}

fn published(text: &str) -> PublishedPorts {
    let binding = binding(text);
    PublishedPorts {
        protocol: binding.protocol,
        host_ip: binding.host_ip.expect("an address"),
        host: binding.host.expect("ports"),
        container: binding.container,
        exposure: model::Exposure::Open,
    }
}

#[test]
fn bindings_that_go_on_are_one_range() {
    let rows: [(&str, &[&str], &[&str]); 7] = [
        (
            "a range, port by port",
            &["81:91", "80:90", "82:92"],
            &["80-82:90-92"],
        ),
        ("a hole", &["80:90", "82:92"], &["80:90", "82:92"]),
        ("shifted ones", &["80:90", "81:92"], &["80:90", "81:92"]),
        ("said twice", &["80:90", "80:90"], &["80:90"]),
        ("chosen ones", &["*:80", "*:81"], &["*:80-81"]),
        ("chosen twice", &["*:80", "*:80"], &["*:80", "*:80"]),
        (
            "other protocols and addresses",
            &["80:80", "81:81/udp", "1.2.3.4=81:81"],
            &["80:80", "1.2.3.4=81:81", "81:81/udp"],
        ),
    ];
    for (name, given, wanted) in rows {
        assert_eq!(coalesce(bindings(given)), bindings(wanted), "{name}");
    }
    let one_of_several = bindings(&["8000-8010:80", "8000-8010:81"]);
    assert_eq!(coalesce(one_of_several.clone()), one_of_several);
    let many: Vec<_> = (10_000_u16..20_000)
        .map(|port| binding(&format!("{port}:{port}")))
        .collect();
    assert_eq!(coalesce(many), bindings(&["10000-19999:10000-19999"]));
}

#[test]
fn every_exposed_port_is_published_once_and_only_when_asked() {
    let mut settings = testing::settings();
    settings.exposed_ports = ["80/tcp", "443/tcp", "53/udp", "90-91/tcp", "junk"]
        .map(str::to_owned)
        .into();
    settings.ports = bindings(&["8080:80"]);
    assert_eq!(wanted(&settings), bindings(&["8080:80"]));
    settings.publish_all = true;
    assert_eq!(
        wanted(&settings),
        bindings(&["8080:80", "*:90-91", "*:443", "*:53/udp"])
    );
    settings.network_mode = NetworkMode::Host;
    assert_eq!(wanted(&settings), []);
}

#[test]
fn what_is_given_back_is_found_by_what_is_said_of_it() {
    /// What it is about, what is published, what is given back, and what is left if that was found.
    type Row = (
        &'static str,
        &'static [&'static str],
        &'static str,
        Option<&'static [&'static str]>,
    );
    let rows: [Row; 9] = [
        (
            "the port alone",
            &["8080:80", "443:443"],
            "*:80",
            Some(&["443:443"]),
        ),
        (
            "the host's, too",
            &["8080:80", "8081:80"],
            "8081:80",
            Some(&["8080:80"]),
        ),
        ("another host's", &["8080:80"], "8081:80", None),
        ("another protocol", &["8080:80"], "*:80/udp", None),
        (
            "an address",
            &["8080:80", "127.0.0.1=8080:80"],
            "127.0.0.1=*:80",
            Some(&["8080:80"]),
        ),
        (
            "out of a range",
            &["80-89:90-99"],
            "*:95",
            Some(&["80-84:90-94", "86-89:96-99"]),
        ),
        (
            "the end of a range",
            &["80-89:90-99"],
            "88-89:98-99",
            Some(&["80-87:90-97"]),
        ),
        ("a chosen one", &["*:80"], "*:80", Some(&[])),
        ("a chosen one by a number", &["*:80"], "32768:80", None),
    ];
    for (name, given, gone, left) in rows {
        let (found_left, found) = without(&bindings(given), &binding(gone));
        assert_eq!(found, left.is_some(), "{name}");
        let expected = left.unwrap_or(given);
        assert_eq!(found_left, coalesce(bindings(expected)), "{name}");
    }
}

#[test]
fn the_published_part_of_a_range_is_cut_out() {
    let all = [published("0.0.0.0=80-89:90-99"), published("::=80-89:90-99")];
    assert_eq!(
        published_of(&all, &binding("*:95")),
        [published("0.0.0.0=85:95"), published("::=85:95")]
    );
    assert_eq!(
        published_of(&all, &binding("0.0.0.0=85:95")).len(),
        2,
        "the address that stands for all of them means both families"
    );
    assert_eq!(published_of(&all, &binding("86:95")), []);
}

#[test]
fn a_chosen_port_goes_by_the_number_it_became() {
    let left = without_chosen(&bindings(&["*:80-81", "90:90"]), &published("0.0.0.0=32768:80"));
    assert_eq!(left, coalesce(bindings(&["*:81", "90:90"])));
}

#[test]
fn what_nothing_leads_to_any_more_is_left_out_by_later_starts() {
    let all = [
        published("0.0.0.0=32768-32770:80-82"),
        published("::=32768-32770:80-82"),
        published("127.0.0.1=8082:82"),
    ];
    let texts = |gone: &[&str]| {
        let gone: Vec<_> = gone.iter().map(|text| published(text)).collect();
        let left = without_any(&all, &gone);
        left.iter().map(|one| one.ports.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(texts(&["0.0.0.0=32768:80", "::=32768:80"]), ["80"]);
    assert_eq!(
        texts(&["0.0.0.0=32768:80"]),
        Vec::<String>::new(),
        "IPv6 still leads there"
    );
    let both = ["0.0.0.0=32768-32770:80-82", "::=32768-32770:80-82"];
    assert_eq!(texts(&both), ["80-81"], "82 has a port of its own on loopback");

    let mut settings = testing::settings();
    settings.exposed_ports = ["80-82/tcp"].map(str::to_owned).into();
    settings.publish_all = true;
    settings.unpublished = without_any(&all, &both.map(published));
    assert_eq!(wanted(&settings), bindings(&["*:82"]));
}

#[test]
fn exposed_ports_in_a_row_are_one_range_in_the_record_and_nonsense_stays() {
    let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<BTreeSet<_>>();
    let all = (1..=65535_u16).map(|port| format!("{port}/tcp"));
    let many: BTreeSet<String> = all.chain(["53/udp".to_owned()]).collect();
    assert_eq!(exposed_together(&many), texts(&["1-65535/tcp", "53/udp"]));
    let image = texts(&["80", "81/tcp", "70-90/tcp", "http", "90-80/tcp"]);
    assert_eq!(
        exposed_together(&image),
        texts(&["70-90/tcp", "http", "90-80/tcp"])
    );
    assert_eq!(exposed_together(&texts(&["70-90/tcp"])), texts(&["70-90/tcp"]));
}
