//! The text as Prometheus reads it, and the dashboard as Grafana does.

use std::collections::BTreeSet;

use model::{NetworkId, Snapshot};
use serde_json::Value;

use super::*;

/// Everything there can be.
fn everything() -> Seen {
    let link = |of| LinkTraffic {
        of,
        received: Traffic::default(),
        sent: Traffic::default(),
    };
    Seen {
        links: vec![link(LinkOwner::Network(NetworkId::random()))],
        firewall: Some(FirewallObjects::default()),
        names: Some(vec![NameQueries {
            sandbox: SandboxId::from_bytes([7; 32]),
            local: 2,
            cached: 0,
            forwarded: 0,
            failed: 0,
        }]),
        reconcile: Some(ReconcileCounters {
            seconds: 0.25,
            ..ReconcileCounters::default()
        }),
    }
}

fn rows() -> Vec<Row> {
    let seen = everything();
    let snapshot = Snapshot::default();
    let mut rows = rows::records(&snapshot, &BTreeMap::from([("running", 1)]));
    rows.extend(traffic::rows(&snapshot, &seen.links));
    rows.extend(rows::seen(&snapshot, &seen));
    rows.push(Requests::default().row());
    rows.push(Row::build("1.2.3"));
    rows
}

/// The names that a query can have.
fn exported() -> BTreeSet<String> {
    let name = |row: &Row| match row.kind {
        Kind::Counter => format!("cnm_{}_total", row.name),
        Kind::Gauge => format!("cnm_{}", row.name),
    };
    rows().iter().map(name).collect()
}

#[test]
fn samples_are_written_as_prometheus_reads_them() {
    let text = encode(rows()).expect("text");
    for line in [
        "# TYPE cnm_dns_queries counter",
        "cnm_dns_queries_total{container=\"\",container_id=\"070707070707\",result=\"local\"} 2.0",
        "cnm_reconcile_duration_seconds_total 0.25",
        "cnm_containers{state=\"running\"} 1.0",
        "cnm_build_info{version=\"1.2.3\"} 1.0",
        "cnm_published_ports{protocol=\"tcp\",family=\"ipv4\"} 0.0",
    ] {
        let found = text.lines().any(|found| found.replace("{}", "") == line);
        assert!(found, "{line:?} is missing in {text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn names_are_unique_and_follow_the_conventions() {
    let rows = rows();
    let names: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len());
    for row in rows {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(row.name.bytes().all(good), "{}", row.name);
        assert!(
            !row.name.ends_with("_total"),
            "{}: the encoder adds that",
            row.name
        );
        assert!(!row.help.ends_with('.'), "{}: the encoder adds that", row.name);
    }
}

const DASHBOARD: &str = include_str!("../../../../deploy/grafana/cnm.json");

/// Every word of a query that begins as our metrics do.
fn asked(expression: &str) -> Vec<String> {
    expression
        .split(|byte: char| !byte.is_ascii_alphanumeric() && byte != '_')
        .filter(|word| word.starts_with("cnm_"))
        .map(str::to_owned)
        .collect()
}

fn panels(dashboard: &Value) -> Vec<&Value> {
    dashboard["panels"]
        .as_array()
        .map(|panels| panels.iter().collect())
        .unwrap_or_default()
}

#[test]
fn the_dashboard_asks_for_nothing_that_is_not_exported() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    let exported = exported();
    let mut queries = 0;
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("a query");
            let names = asked(expression);
            assert!(!names.is_empty(), "{expression:?} asks for nothing of ours");
            for name in names {
                assert!(
                    exported.contains(&name),
                    "{name} of {expression:?} is not exported"
                );
            }
            queries += 1;
        }
    }
    assert!(queries >= 12, "{queries} queries");
    for variable in dashboard["templating"]["list"].as_array().into_iter().flatten() {
        for name in asked(variable["query"].as_str().unwrap_or_default()) {
            assert!(exported.contains(&name), "{name} of a variable is not exported");
        }
    }
}

/// What Grafana's own check of a provisioned dashboard wants: a title, a schema version, and for each panel an id of its
/// own, a kind, a place on the grid of 24 columns, and a data source.
#[test]
fn the_dashboard_has_what_grafana_requires() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    assert!(dashboard["title"].is_string() && dashboard["uid"].is_string());
    assert!(
        dashboard["schemaVersion"]
            .as_u64()
            .is_some_and(|version| version >= 36)
    );
    assert!(
        dashboard["id"].is_null(),
        "an id is given by the server that it is loaded into"
    );
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().expect("a title");
        let number = |key: &str| {
            let place = &panel["gridPos"][key];
            place.as_u64().unwrap_or_else(|| panic!("{title}: gridPos.{key}"))
        };
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}");
        assert!(panel["type"].is_string(), "{title}");
        let (x, y, wide, high) = (number("x"), number("y"), number("w"), number("h"));
        assert!(x + wide <= 24 && wide > 0 && high > 0, "{title}");
        for cell in (x..x + wide).flat_map(|x| (y..y + high).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies over another panel at {cell:?}");
        }
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["type"], "prometheus", "{title}");
            let mut letters = BTreeSet::new();
            for target in panel["targets"].as_array().expect("queries") {
                assert!(
                    letters.insert(target["refId"].as_str().expect("a letter")),
                    "{title}"
                );
            }
        }
    }
}
