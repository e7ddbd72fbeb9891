//! `?filters=`: which names exist for what, and what their values mean.

use api_types::Filters;
use engine::{PruneFilter, Query, record::Phase};
use model::{ExposedPorts, Labels, Network, Timestamp};

use super::time;
use crate::status::{Answer, Refusal};

/// Refuses a filter that nobody has, in Docker's words.
pub(crate) fn known(filters: &Filters, names: &[&str]) -> Answer<()> {
    match filters.names().find(|name| !names.contains(name)) {
        Some(name) => Err(Refusal::bad_request(format!(
            "invalid filter '{name}' (hint: {} are there)",
            names.join(", ")
        ))),
        None => Ok(()),
    }
}

/// `key` or `key=value`.
pub(crate) fn label(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// Whether labels have what a filter's value asks, `key` or `key=value`.
pub(crate) fn has_label(labels: &Labels, text: &str) -> bool {
    let (key, value) = label(text);
    labels
        .get(&key)
        .is_some_and(|found| value.is_none_or(|value| value == *found))
}

/// In the order in which Docker names them.
const STATES: [Phase; 7] = [
    Phase::Created,
    Phase::Running,
    Phase::Paused,
    Phase::Restarting,
    Phase::Removing,
    Phase::Exited,
    Phase::Dead,
];

/// Which containers.
pub(crate) fn containers(filters: &Filters) -> Answer<Query> {
    known(
        filters,
        &[
            "ancestor",
            "before",
            "exited",
            "expose",
            "health",
            "id",
            "isolation",
            "is-task",
            "label",
            "name",
            "network",
            "publish",
            "since",
            "status",
            "volume",
        ],
    )?;
    let all = |name: &str| filters.get(name).to_vec();
    let phase = |text: &String| {
        Phase::ALL
            .into_iter()
            .find(|phase| phase.as_str() == text)
            .ok_or_else(|| {
                Refusal::bad_request(format!(
                    "invalid filter 'status={text}': invalid value for state ({text}): must be one of {}",
                    STATES.map(Phase::as_str).join(", ")
                ))
            })
    };
    let code = |text: &String| {
        text.parse()
            .map_err(|_| Refusal::bad_request(format!("invalid filter 'exited={text}'")))
    };
    let mut query = Query {
        ids: all("id"),
        names: all("name"),
        labels: filters.get("label").iter().map(|text| label(text)).collect(),
        phases: filters.get("status").iter().map(phase).collect::<Answer<_>>()?,
        health: all("health"),
        exited: filters.get("exited").iter().map(code).collect::<Answer<_>>()?,
        networks: all("network"),
        ancestors: all("ancestor"),
        before: filters.get("before").first().cloned(),
        since: filters.get("since").first().cloned(),
        mounts: all("volume"),
        exposed: ports(filters.get("expose"))?,
        published: ports(filters.get("publish"))?,
        ..Query::default()
    };
    if let Some(text) = filters
        .get("health")
        .iter()
        .find(|text| !["starting", "healthy", "unhealthy", "none"].contains(&text.as_str()))
    {
        return Err(Refusal::bad_request(format!(
            "invalid filter 'health={text}': invalid value for health ({text}): must be one of none, starting, \
             healthy, unhealthy"
        )));
    }
    if let Some(text) = filters.get("is-task").iter().find(|text| truth(text).is_none()) {
        return Err(Refusal::bad_request(format!("invalid filter 'is-task=[{text}]'")));
    }
    // Nothing is a task: those who ask for one find nothing.
    let nobody = filters
        .get("is-task")
        .iter()
        .any(|text| truth(text) == Some(true));
    if nobody {
        query.labels.push(("\0nobody".to_owned(), None));
    }
    Ok(query)
}

/// `80`, `80/udp`, `8000-8010/tcp`.
fn ports(texts: &[String]) -> Answer<Vec<ExposedPorts>> {
    let port = |text: &String| {
        let found = super::ports::port(text);
        let (ports, protocol) =
            found.map_err(|message| Refusal::bad_request(format!("invalid filter: {message}")))?;
        Ok(ExposedPorts { ports, protocol })
    };
    texts.iter().map(port).collect()
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// Which networks, judged by the network and whether anybody uses it.
#[derive(Debug)]
pub(crate) struct NetworkFilter<'a>(&'a Filters);

impl<'a> NetworkFilter<'a> {
    pub(crate) fn new(filters: &'a Filters) -> Answer<Self> {
        known(
            filters,
            &["dangling", "driver", "id", "label", "name", "scope", "type"],
        )?;
        let dangling = filters.get("dangling");
        if dangling.len() > 1 || dangling.iter().any(|text| truth(text).is_none()) {
            return Err(Refusal::bad_request(
                "invalid filter 'dangling': one of true, false, 1 and 0 is wanted",
            ));
        }
        if let Some(text) = filters
            .get("type")
            .iter()
            .find(|text| !["builtin", "custom"].contains(&text.as_str()))
        {
            return Err(Refusal::bad_request(format!("invalid filter: 'type'='{text}'")));
        }
        Ok(Self(filters))
    }

    /// Whether a network is among those asked for.
    pub(crate) fn shows(&self, network: &Network, in_use: bool) -> bool {
        let any = |name: &str, holds: &dyn Fn(&String) -> bool| {
            let asked = self.0.get(name);
            asked.is_empty() || asked.iter().any(holds)
        };
        let id = network.id.to_string();
        let kind = if network.predefined { "builtin" } else { "custom" };
        let dangling = self.0.get("dangling").first().and_then(|text| truth(text));
        any("driver", &|text| text == network.driver.as_str())
            && any("id", &|text| id.contains(text.as_str()))
            && any("name", &|text| engine::name_matches(text, network.name.as_str()))
            && any("scope", &|text| *text == network.scope.to_string())
            && any("type", &|text| text == kind)
            && dangling.is_none_or(|wanted| wanted == (!in_use && !network.predefined))
            && self.0.get("label").iter().all(|text| {
                let (key, value) = label(text);
                network
                    .labels
                    .get(&key)
                    .is_some_and(|found| value.is_none_or(|value| value == *found))
            })
    }
}

/// Which networks are pruned.
pub(crate) fn prune(filters: &Filters, now: Timestamp) -> Answer<PruneFilter> {
    known(filters, &["label", "label!", "until"])?;
    if filters.get("until").len() > 1 {
        return Err(Refusal::bad_request("more than one until filter specified"));
    }
    Ok(PruneFilter {
        until: filters
            .get("until")
            .first()
            .map_or(Ok(None), |text| time::parse(text, now))?,
        labels: filters.get("label").iter().map(|text| label(text)).collect(),
        without_labels: filters.get("label!").iter().map(|text| label(text)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(pairs: &[(&str, &str)]) -> Filters {
        pairs.iter().fold(Filters::default(), |filters, (name, value)| {
            filters.with(*name, *value)
        })
    }

    fn network(name: &str, driver: &str, predefined: bool) -> Network {
        serde_json::from_value(serde_json::json!({
            "id": "ab".repeat(32), "name": name, "driver": driver, "scope": "local", "lifecycle": "active",
            "created": "2026-11-21T09:00:00Z", "labels": {"a": "1"}, "options": {}, "enable_ipv4": true, "enable_ipv6": false,
            "internal": false, "attachable": false, "predefined": predefined,
            "ipam": {"driver": "default", "options": {}, "subnets": []}, "pools": [], "vnis": []
        }))
        .expect("a network")
    }

    #[test]
    fn networks_are_filtered_by_every_name_there_is() {
        let network = network("backend", "bridge", false);
        for (name, value, wanted) in [
            ("driver", "bridge", true),
            ("driver", "brid", false),
            ("name", "back", true),
            ("name", "^end", false),
            ("id", "abab", true),
            ("scope", "global", false),
            ("type", "custom", true),
            ("type", "builtin", false),
            ("dangling", "true", true),
            ("dangling", "0", false),
            ("label", "a", true),
            ("label", "a=1", true),
            ("label", "a=2", false),
        ] {
            let filters = filters(&[(name, value)]);
            let filter = NetworkFilter::new(&filters).expect("a known filter");
            assert_eq!(filter.shows(&network, false), wanted, "{name}={value}");
        }
    }

    #[test]
    fn filters_that_nobody_has_and_values_that_mean_nothing_are_refused() {
        for (name, value) in [("colour", "red"), ("dangling", "maybe"), ("type", "odd")] {
            assert!(
                NetworkFilter::new(&filters(&[(name, value)])).is_err(),
                "{name}={value}"
            );
        }
        for (name, value) in [("colour", "red"), ("status", "asleep"), ("exited", "x")] {
            assert!(containers(&filters(&[(name, value)])).is_err(), "{name}={value}");
        }
        assert!(prune(&filters(&[("driver", "bridge")]), Timestamp::now()).is_err());
    }

    #[test]
    fn health_has_four_words() {
        let query = containers(&filters(&[("health", "healthy"), ("health", "none")]));
        assert_eq!(query.expect("a query").health, ["healthy", "none"]);
        assert!(containers(&filters(&[("health", "fine")])).is_err());
    }
}
