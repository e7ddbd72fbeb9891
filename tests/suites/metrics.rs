//! `/metrics` of a host with traffic on it, on the socket and on tcp.

use std::{collections::BTreeSet, time::Duration};

use netlab::{Single, on_each_backend, wait_for};
use serde_json::Value;

type Test = anyhow::Result<()>;

/// The value of the first sample whose line begins so.
fn value(text: &str, start: &str) -> anyhow::Result<f64> {
    let line = text.lines().find(|line| line.starts_with(start));
    let number = line.and_then(|line| line.rsplit(' ').next());
    number
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| anyhow::anyhow!("no sample {start:?} in {text}"))
}

/// The dashboard in `deploy/`, as it is imported.
const DASHBOARD: &str = include_str!("../../deploy/grafana/cnm.json");

/// Every text of the dashboard that is asked of Prometheus.
fn questions(part: &Value, found: &mut Vec<String>) {
    match part {
        Value::Object(parts) => {
            for (key, part) in parts {
                match part {
                    Value::String(text) if key == "expr" || key == "query" => found.push(text.clone()),
                    part => questions(part, found),
                }
            }
        }
        Value::Array(parts) => parts.iter().for_each(|part| questions(part, found)),
        _ => {}
    }
}

/// Metrics of ours that the dashboard asks for and that aren't among the samples. Beside each metric that is followed by
/// `{`, the labels it is selected by must be there too; `instance` is Prometheus's own.
fn missing_of_the_dashboard(samples: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut asked = Vec::new();
    questions(&serde_json::from_str(DASHBOARD)?, &mut asked);
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut missing = BTreeSet::new();
    let mut names = 0;
    for text in &asked {
        for (at, _) in text.match_indices("cnm_") {
            if text[..at].ends_with(is_part) {
                continue;
            }
            names += 1;
            let rest = &text[at..];
            let (name, rest) = rest.split_at(rest.find(|letter| !is_part(letter)).unwrap_or(rest.len()));
            let of_it = |line: &&str| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            let Some(sample) = samples.lines().find(of_it) else {
                missing.insert(name.to_owned());
                continue;
            };
            let selected = rest
                .strip_prefix('{')
                .and_then(|rest| rest.split('}').next())
                .unwrap_or_default();
            for label in selected
                .split(',')
                .filter_map(|part| part.split(['=', '!']).next())
            {
                let label = label.trim();
                if !label.is_empty() && label != "instance" && !sample.contains(&format!("{label}=\"")) {
                    missing.insert(format!("{name}{{{label}}}"));
                }
            }
        }
    }
    anyhow::ensure!(names > 20, "the dashboard was not understood: {asked:?}");
    Ok(missing)
}

#[test]
fn figures_follow_what_happens_on_the_host() -> Test {
    on_each_backend(&["--metrics-addr", "127.0.0.1:9323"], |host| {
        let docker = &host.daemon;
        let scrape = || docker.host().fetch("http://127.0.0.1:9323/metrics");
        let before = wait_for("the listener", Duration::from_secs(5), scrape)?;
        let networks = value(&before, "cnm_networks{driver=\"bridge\",scope=\"local\"}")?;
        docker.ok("network create --subnet 10.90.0.0/24 lan")?;
        docker.web("web", "--network lan -p 8080-8089:8080-8089 -p 9000:80/tcp")?;
        docker.ok("run -d --name client --network lan busybox sleep 600")?;
        docker.ok("exec client ping -c3 -W5 web")?;
        docker.refused("network inspect absent")?;

        let after = scrape()?;
        let is = |start: &str| value(&after, start);
        assert_eq!(
            is("cnm_networks{driver=\"bridge\",scope=\"local\"}")?,
            networks + 1.0
        );
        assert_eq!(is("cnm_sandboxes")?, 2.0);
        assert_eq!(is("cnm_containers{state=\"running\"}")?, 2.0);
        assert_eq!(is("cnm_published_ports{protocol=\"tcp\",family=\"ipv4\"}")?, 11.0);
        let pool = "cnm_pool_addresses_in_use{network=\"lan\",subnet=\"10.90.0.0/24\"}";
        assert_eq!(is(pool)?, 3.0, "two containers and the gateway");
        assert_eq!(
            is("cnm_pool_addresses{network=\"lan\",subnet=\"10.90.0.0/24\"}")?,
            254.0
        );
        assert!(is("cnm_container_transmit_bytes_total{container=\"client\"")? > 200.0);
        assert!(is("cnm_container_receive_packets_total{container=\"web\"")? >= 3.0);
        assert!(is("cnm_firewall_objects{kind=\"rule\"}")? > 0.0);
        assert!(
            is("cnm_api_requests_total{method=\"POST\",route=\"/containers/create\",code=\"201\"}")? >= 2.0
        );
        assert!(is("cnm_api_requests_total{method=\"GET\",route=\"/networks/{id}\",code=\"404\"}")? >= 1.0);
        assert!(is("cnm_kernel_messages_total")? > 0.0);

        let unknown = missing_of_the_dashboard(&after)?;
        assert_eq!(
            unknown,
            BTreeSet::new(),
            "what the dashboard asks for and nobody tells"
        );

        // The socket tells the same, in the form that Prometheus asks for.
        let answer = docker.api().call("GET".parse()?, "/metrics", None)?;
        let text = String::from_utf8(answer.body.to_vec())?;
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert_eq!(value(&text, pool)?, 3.0);
        docker.ok("rm -f web client")?;
        docker.ok("network rm lan")?;
        assert!(
            !scrape()?.contains("network=\"lan\""),
            "what is gone is told no more"
        );
        Ok(())
    })
}

#[test]
fn an_address_that_can_not_be_listened_on_ends_the_start_with_its_reason() -> Test {
    let host = Single::start(&["--metrics-addr", "127.0.0.1:9323"])?;
    let daemon = netlab::Programs::find()?.ours("cnmd");
    for (address, why) in [("nonsense", "nonsense"), ("127.0.0.1", "ADDRESS:PORT")] {
        let refused = host
            .daemon
            .host()
            .run(&daemon, &["--validate", "--metrics-addr", address])?
            .failed()?;
        assert!(refused.contains(why), "{refused}");
    }
    Ok(())
}
