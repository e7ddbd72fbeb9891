use super::*;

fn request(
    subnet: Option<&str>,
    range: Option<&str>,
    gateway: Option<&str>,
    aux: &[(&str, &str)],
) -> SubnetRequest {
    SubnetRequest {
        subnet: subnet.map(|text| text.parse().unwrap()),
        ip_range: range.map(|text| text.parse().unwrap()),
        gateway: gateway.map(|text| text.parse().unwrap()),
        aux_addresses: aux
            .iter()
            .map(|(name, address)| ((*name).to_owned(), address.parse().unwrap()))
            .collect(),
    }
}

#[test]
fn every_violation_is_told_and_told_at_once() {
    let both = [AddressFamily::V4, AddressFamily::V6];
    let rows: [(&str, SubnetRequest, &[&str]); 7] = [
        (
            "nothing is wrong",
            request(
                Some("10.0.0.0/16"),
                Some("10.0.5.0/24"),
                Some("10.0.0.1"),
                &[("a", "10.0.0.9")],
            ),
            &[],
        ),
        (
            "everything is outside",
            request(
                Some("10.0.0.0/24"),
                Some("10.0.1.0/24"),
                Some("10.0.2.1"),
                &[("a", "10.0.3.9"), ("b", "fd00::1")],
            ),
            &[
                "ip-range 10.0.1.0/24",
                "gateway 10.0.2.1",
                "\"a\" (10.0.3.9)",
                "\"b\" (fd00::1)",
            ],
        ),
        (
            "a range of the other family",
            request(Some("10.0.0.0/24"), Some("fd00::/80"), None, &[]),
            &["ip-range fd00::/80"],
        ),
        (
            "a range larger than its subnet",
            request(Some("10.0.0.0/24"), Some("10.0.0.0/16"), None, &[]),
            &["ip-range 10.0.0.0/16"],
        ),
        (
            "no subnet",
            request(None, Some("10.0.1.0/24"), Some("10.0.2.1"), &[]),
            &[
                "ip-range 10.0.1.0/24 is given without",
                "gateway 10.0.2.1 is given without",
            ],
        ),
        (
            "a size alone",
            request(Some("0.0.0.0/24"), None, Some("10.0.2.1"), &[]),
            &["0.0.0.0/24 asks for a size alone"],
        ),
        (
            "a size alone and no more",
            request(Some("::/64"), None, None, &[]),
            &[],
        ),
    ];
    for (name, pool, wanted) in rows {
        let wrong = of_subnet(&pool, &both);
        assert_eq!(wrong.len(), wanted.len(), "{name}: {wrong:?}");
        for (found, wanted) in wrong.iter().zip(wanted) {
            assert!(found.0.contains(wanted), "{name}: {found:?}");
        }
    }
}

#[test]
fn a_family_that_is_off_has_no_subnets() {
    let wrong = of_subnet(&request(Some("fd00::/64"), None, None, &[]), &[AddressFamily::V4]);
    assert_eq!(
        wrong,
        [(
            "fd00::/64 is given, but IPv6 is not enabled on this network".to_owned(),
            "add --ipv6"
        )]
    );
}

#[test]
fn the_error_reads_as_dockers() {
    let wrong = vec![("one".to_owned(), "do this"), ("two".to_owned(), "do that")];
    let error = refuse_all(&wrong).unwrap_err();
    assert_eq!(error.to_string(), "invalid network config:\none\ntwo");
    let error = refuse_all(&[("one".to_owned(), "do this")]).unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("do this"));
}

#[test]
fn options_and_routes_are_told_with_everything_else() {
    let options = Labels::from([
        ("cnm.firewall".to_owned(), "closed".to_owned()),
        ("cnm.dns.hosts".to_owned(), "true".to_owned()),
        ("cnm.firewal".to_owned(), "host".to_owned()),
        ("cnm.host_access".to_owned(), "true".to_owned()),
        (
            "cnm.routes".to_owned(),
            "10.0.0.0/25=link,10.9.0.0/16=10.1.0.5".to_owned(),
        ),
    ]);
    let asked = [request(Some("10.0.0.0/24"), None, None, &[])];
    let mut wrong = of_options(&options);
    wrong.extend(of_routes(&options, asked.iter()));
    let told: Vec<_> = wrong.iter().map(|(message, _)| message.as_str()).collect();
    assert_eq!(told.len(), 5, "{told:?}");
    let parts = [
        "cnm.dns.hosts",
        "cnm.firewall",
        "cnm.firewal\"",
        "overlaps",
        "in no subnet",
    ];
    for (told, part) in told.iter().zip(parts) {
        assert!(told.contains(part), "{told} lacks {part}");
    }
    // Of a subnet that is still to be chosen nothing is known yet.
    let later = [request(Some("0.0.0.0/24"), None, None, &[])];
    assert_eq!(of_routes(&options, later.iter()), []);
}

#[test]
fn labels_without_a_name_are_refused() {
    let labels: Labels = [("", "lan"), (" ", "x"), ("a", "")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let wrong = of_labels(&labels);
    let told: Vec<_> = wrong.iter().map(|(message, _)| message.as_str()).collect();
    assert_eq!(
        told,
        [
            "invalid label \"=lan\": empty name",
            "invalid label \"=x\": empty name"
        ]
    );
}

#[test]
fn only_a_bridge_tells_the_host_names() {
    let options: Labels = [("cnm.dns.host".to_owned(), "true".to_owned())].into();
    for (driver, count) in [("bridge", 0), ("macvlan", 1), ("overlay", 1)] {
        let driver = DriverName::new(driver).unwrap();
        assert_eq!(of_listener(&options, &driver).len(), count, "{driver}");
        assert_eq!(of_listener(&Labels::new(), &driver), Vec::new());
    }
}

#[test]
fn an_address_is_set_aside_once_and_is_not_the_gateways() {
    let rows: [(&str, SubnetRequest, &[&str]); 2] = [
        (
            "addresses set aside twice",
            request(
                Some("10.0.0.0/24"),
                None,
                Some("10.0.0.1"),
                &[
                    ("a", "10.0.0.9"),
                    ("b", "10.0.0.9"),
                    ("c", "10.0.0.1"),
                    ("d", "10.0.0.8"),
                ],
            ),
            &[
                "\"a\" and \"b\" are both 10.0.0.9",
                "gateway 10.0.0.1 is already in use by the auxiliary address \"c\"",
            ],
        ),
        (
            "the user's own gateway is where the bridge is",
            request(
                Some("10.0.0.0/24"),
                None,
                Some("10.0.0.1"),
                &[("DefaultGatewayIPv4", "10.0.0.1")],
            ),
            &[],
        ),
    ];
    for (name, request, wanted) in rows {
        let told = of_subnet(&request, &[AddressFamily::V4]);
        assert_eq!(told.len(), wanted.len(), "{name}: {told:?}");
        for (violation, part) in told.iter().zip(wanted) {
            assert!(violation.0.contains(part), "{name}: {violation:?}");
        }
    }
}
