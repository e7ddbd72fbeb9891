//! What a daemon takes over at SIGHUP beside its log's level and its labels: what dockerd takes over.

use model::Labels;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ConfigError, bad};

/// The runtimes that may be the default one: they all mean ours.
const RUNTIMES: [&str; 3] = ["cnm-shim", "runc", "io.containerd.runc.v2"];

/// Keys of this kind, all of them.
pub const KEYS: [&str; 12] = [
    "debug",
    "log-level",
    "labels",
    "default-runtime",
    "features",
    "insecure-registries",
    "live-restore",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "registry-mirrors",
    "shutdown-timeout",
];

/// What can change while the daemon runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloadable {
    /// Registries that are spoken to though nobody vouches for them.
    pub insecure_registries: Vec<String>,
    /// Registries that have what Docker Hub has.
    pub registry_mirrors: Vec<String>,
    /// All of them with their names, as the event of a reload tells them.
    pub told: Labels,
    /// What has less effect than with dockerd, a line each.
    pub warnings: Vec<String>,
}

impl Reloadable {
    /// Reads them. Others are passed over.
    ///
    /// # Errors
    /// For a value that dockerd would refuse, too.
    pub fn read(options: &Map<String, Value>) -> Result<Self, ConfigError> {
        let labels: Vec<String> = one(options, "labels")?.unwrap_or_default();
        let insecure_registries: Vec<String> = one(options, "insecure-registries")?.unwrap_or_default();
        for text in &insecure_registries {
            engine::insecure_registry(text).map_err(|reason| bad("insecure-registries", reason))?;
        }
        let as_given: Vec<String> = one(options, "registry-mirrors")?.unwrap_or_default();
        let registry_mirrors = as_given
            .iter()
            .map(|text| mirror(text))
            .collect::<Result<Vec<_>, _>>()?;
        let runtime: Option<String> = one(options, "default-runtime")?;
        let runtime = runtime.as_deref().unwrap_or(RUNTIMES[0]);
        if !RUNTIMES.contains(&runtime) {
            return Err(bad(
                "default-runtime",
                format!("specified default runtime '{runtime}' does not exist"),
            ));
        }
        let restore: Option<bool> = one(options, "live-restore")?;
        let told = [
            ("default-runtime", runtime.to_owned()),
            ("features", features(options)?),
            ("insecure-registries", list(&insecure_registries)),
            ("labels", list(&labels)),
            ("live-restore", restore.unwrap_or(true).to_string()),
            (
                "max-concurrent-downloads",
                number(options, "max-concurrent-downloads", 3, 0)?,
            ),
            (
                "max-concurrent-uploads",
                number(options, "max-concurrent-uploads", 5, 0)?,
            ),
            (
                "max-download-attempts",
                number(options, "max-download-attempts", 5, 1)?,
            ),
            ("registry-mirrors", list(&as_given)),
            ("runtimes", String::new()),
            ("default-ipc-mode", "private".to_owned()),
            ("default-shm-size", (64 << 20).to_string()),
            ("shutdown-timeout", number(options, "shutdown-timeout", 15, -1)?),
        ];
        Ok(Self {
            warnings: warnings(options, restore),
            insecure_registries,
            registry_mirrors,
            told: told
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        })
    }
}

fn warnings(options: &Map<String, Value>, restore: Option<bool>) -> Vec<String> {
    let mut lines = Vec::new();
    if restore == Some(false) {
        lines.push("live-restore=false: containers go on while the daemon is away all the same".to_owned());
    }
    let without = [
        ("max-concurrent-downloads", "nothing is downloaded yet"),
        ("max-concurrent-uploads", "nothing is uploaded yet"),
        ("max-download-attempts", "nothing is downloaded yet"),
        ("registry-mirrors", "nothing is downloaded yet"),
        ("shutdown-timeout", "each container is stopped by its own timeout"),
        ("features", "none of dockerd's is here"),
    ];
    let given = without.iter().filter(|(key, _)| options.contains_key(*key));
    lines.extend(given.map(|(key, why)| format!("{key} has no effect: {why}")));
    lines
}

fn one<T: DeserializeOwned>(options: &Map<String, Value>, key: &str) -> Result<Option<T>, ConfigError> {
    let Some(value) = options.get(key) else {
        return Ok(None);
    };
    T::deserialize(value)
        .map(Some)
        .map_err(|error| bad(key, format!("{error}, not {value}")))
}

fn number(options: &Map<String, Value>, key: &str, usual: i64, least: i64) -> Result<String, ConfigError> {
    match one::<i64>(options, key)? {
        // Zero is what is not said, where zero would be none at all.
        None | Some(0) if least >= 0 => Ok(usual.to_string()),
        None => Ok(usual.to_string()),
        Some(number) if number < least => {
            Err(bad(key, format!("invalid value {number}: {least} is the least")))
        }
        Some(number) => Ok(number.to_string()),
    }
}

/// Switches by name, as Go prints a map; a flag gives them as text.
fn features(options: &Map<String, Value>) -> Result<String, ConfigError> {
    let given: Map<String, Value> = one(options, "features")?.unwrap_or_default();
    let mut switches = Vec::new();
    for (name, value) in given {
        let on = match &value {
            Value::Bool(on) => Some(*on),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let on = on.ok_or_else(|| bad("features", format!("{name} is true or false, not {value}")))?;
        switches.push(format!("{name}:{on}"));
    }
    switches.sort();
    Ok(format!("map[{}]", switches.join(" ")))
}

fn list(texts: &[String]) -> String {
    Value::from(texts.to_vec()).to_string()
}

/// `http://HOST/` or `https://HOST/`, and nothing behind it.
fn mirror(text: &str) -> Result<String, ConfigError> {
    let wrong = |why: &str| bad("registry-mirrors", format!("invalid mirror: {why}: {text:?}"));
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .ok_or_else(|| wrong("no scheme specified; must be http or https"))?;
    let host = rest.trim_end_matches('/');
    if host.is_empty() || host.contains(['?', '#', '@', ' ']) {
        return Err(wrong("a host, and perhaps a path, is wanted"));
    }
    Ok(format!("{}/", text.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<Reloadable, ConfigError> {
        Reloadable::read(value.as_object().expect("an object"))
    }

    #[test]
    fn what_is_not_said_is_as_dockerd_has_it() {
        let usual = read(&json!({})).expect("nothing is wrong");
        let of = |key: &str| usual.told[key].as_str();
        for (key, value) in [
            ("max-concurrent-downloads", "3"),
            ("max-concurrent-uploads", "5"),
            ("max-download-attempts", "5"),
            ("shutdown-timeout", "15"),
            ("features", "map[]"),
            ("labels", "[]"),
            ("registry-mirrors", "[]"),
        ] {
            assert_eq!(of(key), value, "{key}");
        }
        assert_eq!(usual.warnings, Vec::<String>::new());
    }

    #[test]
    fn what_is_said_is_told_and_what_has_no_effect_is_warned_of() {
        let said = read(&json!({
            "insecure-registries": ["reg:5000", "10.0.0.0/8"],
            "registry-mirrors": ["https://mirror.lan"],
            "features": {"buildkit": true, "other": "false"},
            "live-restore": false,
            "shutdown-timeout": -1,
            "default-runtime": "runc",
        }))
        .expect("nothing is wrong");
        for (key, value) in [
            ("insecure-registries", r#"["reg:5000","10.0.0.0/8"]"#),
            ("registry-mirrors", r#"["https://mirror.lan"]"#),
            ("features", "map[buildkit:true other:false]"),
            ("live-restore", "false"),
            ("shutdown-timeout", "-1"),
            ("default-runtime", "runc"),
        ] {
            assert_eq!(said.told[key], value, "{key}");
        }
        assert_eq!(said.warnings.len(), 4, "{:?}", said.warnings);
    }

    #[test]
    fn what_dockerd_refuses_is_refused() {
        for wrong in [
            json!({"insecure-registries": ["a b"]}),
            json!({"insecure-registries": "reg"}),
            json!({"registry-mirrors": ["mirror.lan"]}),
            json!({"registry-mirrors": ["https://"]}),
            json!({"max-concurrent-downloads": -1}),
            json!({"max-download-attempts": "many"}),
            json!({"shutdown-timeout": -2}),
            json!({"default-runtime": "kata"}),
            json!({"features": {"buildkit": 1}}),
            json!({"live-restore": "maybe"}),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }
}
