//! Which containers `list` shows. Pure.

use super::view::View;
use crate::record::Phase;
use model::{ExposedPorts, PortRange, PublishedPorts};
use regex::Regex;

/// What is asked for. Values of one kind are alternatives; kinds must all hold, and so must all labels.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Those that don't run too.
    pub all: bool,
    /// The newest so many, whether they run or not.
    pub limit: Option<usize>,
    /// Id prefixes.
    pub ids: Vec<String>,
    /// Parts of names; `^` and `$` bind them to an end.
    pub names: Vec<String>,
    /// Labels, with the value where one is given.
    pub labels: Vec<(String, Option<String>)>,
    /// States; asking for any shows those that don't run too.
    pub phases: Vec<Phase>,
    /// What probes say: `starting`, `healthy`, `unhealthy`, or `none` of those without a check.
    pub health: Vec<String>,
    /// Exit statuses of those that exited.
    pub exited: Vec<i64>,
    /// Network names or ids.
    pub networks: Vec<String>,
    /// Images, as they were asked for or by id.
    pub ancestors: Vec<String>,
    /// Only those made before this one.
    pub before: Option<String>,
    /// Only those made after this one.
    pub since: Option<String>,
    /// Paths or sources of mounts.
    pub mounts: Vec<String>,
    /// Ports in the container, exposed or published.
    pub exposed: Vec<ExposedPorts>,
    /// Ports of the host that lead into it.
    pub published: Vec<ExposedPorts>,
}

/// Those of `views` that are asked for, the newest first.
pub(super) fn select(mut views: Vec<View>, query: &Query) -> Vec<View> {
    views.sort_by_key(|view| std::cmp::Reverse(view.record.created));
    let made = |text: &Option<String>| {
        let text = text.as_deref()?.trim_start_matches('/');
        // A name that is the beginning of another's id means the name.
        let named = views.iter().find(|view| view.record.name.as_str() == text);
        let found = named.or_else(|| {
            let begins = |view: &&View| view.record.id.to_string().starts_with(text);
            views.iter().find(begins).filter(|_| !text.is_empty())
        });
        found.map(|view| view.record.created)
    };
    let (before, since) = (made(&query.before), made(&query.since));
    let everybody = query.all || query.limit.is_some() || !query.phases.is_empty();
    views.retain(|view| {
        let record = &view.record;
        (everybody || record.state.phase.is_up())
            && before.is_none_or(|moment| record.created < moment)
            && since.is_none_or(|moment| record.created > moment)
            && matches(view, query)
    });
    views.truncate(query.limit.unwrap_or(usize::MAX));
    views
}

fn matches(view: &View, query: &Query) -> bool {
    let record = &view.record;
    let id = record.id.to_string();
    any(&query.ids, |prefix| id.starts_with(prefix.as_str()))
        && any(&query.names, |pattern| {
            name_matches(pattern, record.name.as_str())
        })
        && query.labels.iter().all(|(key, value)| {
            record
                .settings
                .labels
                .get(key)
                .is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        })
        && any(&query.phases, |phase| *phase == record.state.phase)
        && any(&query.health, |asked| {
            asked
                == view
                    .health
                    .as_ref()
                    .map_or("none", |health| health.status.as_str())
        })
        && any(&query.exited, |code| {
            record.state.phase == Phase::Exited && record.state.exit_code == *code
        })
        && any(&query.networks, |network| {
            view.networks
                .iter()
                .any(|attached| attached.name == *network || attached.id.to_string().starts_with(network))
        })
        && any(&query.ancestors, |image| image_matches(&record.image, image))
        && any(&query.mounts, |place| mounted(view, place))
        && any(&query.exposed, |asked| exposes(view, asked))
        && any(&query.published, |asked| {
            published(view).any(|ports| ports.protocol == asked.protocol && ports.host.overlaps(asked.ports))
        })
}

fn published(view: &View) -> impl Iterator<Item = &PublishedPorts> {
    view.sandbox.iter().flat_map(|sandbox| &sandbox.ports)
}

fn exposes(view: &View, asked: &ExposedPorts) -> bool {
    let within = |ports: PortRange, protocol| protocol == asked.protocol && ports.overlaps(asked.ports);
    super::ports::exposed(&view.record.settings)
        .iter()
        .any(|exposed| within(exposed.ports, exposed.protocol))
        || published(view).any(|ports| within(ports.container, ports.protocol))
}

/// Whether nothing is asked, or one of what is.
fn any<T>(asked: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    asked.is_empty() || asked.iter().any(holds)
}

/// A name, or an expression that finds a part of it, with or without the slash that names used to begin with. What is no
/// expression finds nothing, as in Docker.
pub fn name_matches(pattern: &str, name: &str) -> bool {
    let slashed = format!("/{name}");
    pattern == name
        || pattern == slashed
        || Regex::new(pattern).is_ok_and(|found| found.is_match(name) || found.is_match(&slashed))
}

fn image_matches(image: &crate::record::ImageUse, asked: &str) -> bool {
    let full = |text: &str| text.parse::<images::Reference>().ok();
    let digits = asked.strip_prefix("sha256:").unwrap_or(asked);
    image.asked == asked
        || (full(&image.asked).is_some() && full(&image.asked) == full(asked))
        || (digits.len() >= 12 && image.id.hex().starts_with(digits))
}

fn mounted(view: &View, place: &str) -> bool {
    use runtime::spec::Mount;
    let volume = view
        .volumes
        .iter()
        .any(|(mount, _)| mount.volume.as_str() == place || mount.destination.as_os_str() == place);
    volume
        || view.record.settings.run.mounts.iter().any(|mount| match mount {
            Mount::Bind {
                source, destination, ..
            } => source.as_os_str() == place || destination.as_os_str() == place,
            Mount::Tmpfs { destination, .. } => destination.as_os_str() == place,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::testing;

    #[test]
    fn names_match_in_part_and_at_anchors() {
        for (pattern, name, wanted) in [
            ("web", "web1", true),
            ("web", "myweb", true),
            ("^web", "myweb", false),
            ("^/web$", "web", true),
            ("/web", "myweb", false),
            ("^web$", "web1", false),
            ("1$", "web1", true),
            ("^(web|db)1$", "db1", true),
            ("w.b", "web1", true),
            ("web.1", "web1", false),
            ("web.1", "web.1", true),
            ("a_(", "a_(", true),
            ("(", "web1", false),
        ] {
            assert_eq!(name_matches(pattern, name), wanted, "{pattern} {name}");
        }
    }

    /// Names of those that a query selects, in order.
    fn selected(query: &Query) -> String {
        let views = vec![
            testing::view("web", Phase::Running, 1),
            testing::view("db", Phase::Exited, 2),
            testing::view("job", Phase::Created, 3),
        ];
        let found = select(views, query);
        let names: Vec<_> = found.iter().map(|view| view.record.name.to_string()).collect();
        names.join(" ")
    }

    fn all() -> Query {
        Query {
            all: true,
            ..Query::default()
        }
    }

    #[test]
    fn who_asks_for_nothing_sees_what_runs_and_who_asks_for_all_the_newest_first() {
        assert_eq!(selected(&Query::default()), "web");
        assert_eq!(selected(&all()), "job db web");
        let mut query = Query {
            limit: Some(2),
            ..Query::default()
        };
        assert_eq!(selected(&query), "job db", "so many, running or not");
        query = Query {
            phases: vec![Phase::Exited, Phase::Created],
            ..Query::default()
        };
        assert_eq!(selected(&query), "job db", "states, running or not");
    }

    #[test]
    fn kinds_of_filters_must_all_hold() {
        let with = |set: &dyn Fn(&mut Query)| {
            let mut query = all();
            set(&mut query);
            selected(&query)
        };
        assert_eq!(
            with(&|query| (query.names, query.phases) = (vec!["b".into()], vec![Phase::Exited])),
            "db"
        );
        assert_eq!(with(&|query| query.before = Some("db".into())), "web");
        assert_eq!(with(&|query| query.since = Some("/db".into())), "job");
        assert_eq!(with(&|query| query.exited = vec![0]), "db");
        assert_eq!(with(&|query| query.labels = vec![("no".into(), None)]), "");
        let full = "docker.io/library/busybox".to_owned();
        assert_eq!(with(&|query| query.ancestors = vec![full.clone()]), "job db web");
    }
}
