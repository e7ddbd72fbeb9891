//! `--log-driver` and `--log-opt`.

use std::path::PathBuf;

use api_types::HostConfig;
use engine::{
    ForwardTo, SyslogTls, log_expression,
    record::{LogAttributes, LogSettings},
};

use crate::status::{Answer, Refusal};

/// Where systemd's journal listens.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// Where syslog daemons listen.
const SYSLOG: &str = "unix:///dev/log";
/// What is kept for `logs` of a log that is somebody else's, and by the driver `local`.
const CACHE: (u64, u32) = (20 << 20, 5);

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

/// Each driver with its options.
const DRIVERS: [(&str, &[&str]); 5] = [
    (
        "json-file",
        &[
            "max-size",
            "max-file",
            "compress",
            "labels",
            "labels-regex",
            "env",
            "env-regex",
            "tag",
        ],
    ),
    ("local", &["max-size", "max-file", "compress"]),
    ("none", &[]),
    ("journald", &["tag", "labels", "labels-regex", "env", "env-regex"]),
    (
        "syslog",
        &[
            "tag",
            "syslog-address",
            "syslog-facility",
            "syslog-format",
            "syslog-tls-ca-cert",
            "syslog-tls-cert",
            "syslog-tls-key",
            "syslog-tls-skip-verify",
            "labels",
            "labels-regex",
            "env",
            "env-regex",
        ],
    ),
];

/// Where output goes.
pub(crate) fn log(host: &HostConfig) -> Answer<LogSettings> {
    let config = &host.log_config;
    let driver = if config.r#type.is_empty() {
        "json-file"
    } else {
        &*config.r#type
    };
    let known = DRIVERS.iter().find(|(name, _)| *name == driver);
    let (_, options) = known.ok_or_else(|| {
        Refusal::bad_request(format!(
            "error looking up logging plugin {driver}: plugin \"{driver}\" not found (hint: json-file, local, none, \
             journald and syslog are there)"
        ))
    })?;
    let shared = ["mode", "max-buffer-size"];
    let unknown = config
        .config
        .keys()
        .find(|key| !options.contains(&key.as_str()) && !shared.contains(&key.as_str()));
    if let Some(key) = unknown {
        return Err(Refusal::bad_request(format!(
            "unknown log opt '{key}' for {driver} log driver"
        )));
    }
    let option = |name: &str| config.config.get(name).map(String::as_str);
    mode(&option)?;
    let mut settings = LogSettings {
        tag: option("tag").unwrap_or_default().to_owned(),
        attributes: attributes(&option)?,
        ..LogSettings::default()
    };
    if matches!(driver, "local" | "journald" | "syslog") {
        (settings.max_size, settings.max_files) = (Some(CACHE.0), CACHE.1);
    }
    match driver {
        "none" => settings.keep = false,
        "journald" => settings.forward = Some(ForwardTo::Journal(PathBuf::from(JOURNAL))),
        "syslog" => settings.forward = Some(syslog(&option)?),
        _ => {}
    }
    if let Some(text) = option("max-size") {
        let size = size(text).ok_or_else(|| Refusal::bad_request(format!("invalid size: '{text}'")))?;
        settings.max_size = Some(size).filter(|size| *size > 0);
    }
    if let Some(text) = option("max-file") {
        let files = text.parse().ok().filter(|files| *files > 0);
        settings.max_files =
            files.ok_or_else(|| Refusal::bad_request("max-file cannot be less than 1".to_owned()))?;
    }
    settings.compress = compress(driver, &option, &settings)?;
    Ok(settings)
}

/// Whether turned files are packed: `local` does unless told otherwise, as in Docker.
fn compress<'a>(
    driver: &str,
    option: &dyn Fn(&str) -> Option<&'a str>,
    settings: &LogSettings,
) -> Answer<bool> {
    let text = option("compress").unwrap_or(if driver == "local" { "true" } else { "false" });
    let wanted = boolean(text).ok_or_else(|| {
        Refusal::bad_request(match driver {
            "local" => format!(
                "invalid boolean value for compress: strconv.ParseBool: parsing {text:?}: invalid syntax"
            ),
            _ => format!("strconv.ParseBool: parsing {text:?}: invalid syntax"),
        })
    })?;
    if wanted && driver == "local" && settings.max_files < 2 {
        return Err(Refusal::bad_request(
            "compression cannot be enabled when max file count is 1 (hint: say compress=false)",
        ));
    }
    if wanted && (settings.max_files < 2 || settings.max_size.is_none()) {
        return Err(Refusal::bad_request(
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ));
    }
    Ok(wanted)
}

/// A truth as Go reads one.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Whether the container waits for its log. Here it never does for long, so both are the same.
fn mode<'a>(option: &dyn Fn(&str) -> Option<&'a str>) -> Answer<()> {
    let mode = option("mode").unwrap_or_default();
    if !["", "blocking", "non-blocking"].contains(&mode) {
        return Err(Refusal::bad_request(format!(
            "logger: logging mode not supported: {mode}"
        )));
    }
    match option("max-buffer-size") {
        Some(_) if mode != "non-blocking" => Err(Refusal::bad_request(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        )),
        Some(text) if size(text).is_none() => Err(Refusal::bad_request(format!(
            "error parsing option max-buffer-size: invalid size: '{text}'"
        ))),
        _ => Ok(()),
    }
}

/// Labels and variables that stand with each line.
fn attributes<'a>(option: &dyn Fn(&str) -> Option<&'a str>) -> Answer<LogAttributes> {
    let names = |name: &str| {
        let text = option(name).unwrap_or_default();
        text.split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let expression = |name: &str| {
        let text = option(name).unwrap_or_default();
        log_expression(text)
            .map_err(|error| Refusal::bad_request(format!("error parsing regexp: {name}: {error}")))?;
        Ok::<_, Refusal>(text.to_owned())
    };
    Ok(LogAttributes {
        labels: names("labels"),
        labels_regex: expression("labels-regex")?,
        env: names("env"),
        env_regex: expression("env-regex")?,
    })
}

fn syslog<'a>(option: &dyn Fn(&str) -> Option<&'a str>) -> Answer<ForwardTo> {
    let facility = match option("syslog-facility") {
        None => 3,
        Some(text) => {
            let named = FACILITIES.iter().position(|name| *name == text);
            let number = named
                .or_else(|| text.parse().ok())
                .filter(|number| *number < FACILITIES.len());
            let number = number.and_then(|number| u8::try_from(number).ok());
            number.ok_or_else(|| Refusal::bad_request("invalid syslog facility".to_owned()))?
        }
    };
    let structured = match option("syslog-format").unwrap_or("rfc3164") {
        "rfc3164" => false,
        "rfc5424" | "rfc5424micro" => true,
        _ => return Err(Refusal::bad_request("Invalid syslog format")),
    };
    let address = option("syslog-address").unwrap_or(SYSLOG);
    let kind = address.split_once("://").map(|(kind, _)| kind);
    match kind {
        Some("unix" | "unixgram" | "udp" | "tcp" | "tcp+tls") => {}
        _ => {
            return Err(Refusal::bad_request(format!(
                "unsupported scheme: '{}'",
                kind.unwrap_or_default()
            )));
        }
    }
    Ok(ForwardTo::Syslog {
        address: address.to_owned(),
        facility,
        structured,
        tls: (kind == Some("tcp+tls")).then(|| tls(option)),
    })
}

/// Docker takes any value of `syslog-tls-skip-verify` for a yes.
fn tls<'a>(option: &dyn Fn(&str) -> Option<&'a str>) -> SyslogTls {
    let file = |name: &str| option(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    SyslogTls {
        authority: file("syslog-tls-ca-cert"),
        certificate: file("syslog-tls-cert"),
        key: file("syslog-tls-key"),
        anybody: option("syslog-tls-skip-verify").is_some(),
    }
}

/// `10m`, `64k`, `1g`, `512`.
fn size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.strip_suffix(['k', 'm', 'g']) {
        Some(digits) => (
            digits,
            if lower.ends_with('k') {
                10
            } else if lower.ends_with('m') {
                20
            } else {
                30
            },
        ),
        None => (lower, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use api_types::LogConfig;

    use super::*;

    fn read(driver: &str, options: &[(&str, &str)]) -> Answer<LogSettings> {
        log(&HostConfig {
            log_config: LogConfig {
                r#type: driver.to_owned(),
                config: options
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
            },
            ..HostConfig::default()
        })
    }

    #[test]
    fn drivers_have_their_options_and_no_others() {
        let rotated = read("", &[("max-size", "10m"), ("max-file", "3")]).expect("settings");
        assert_eq!((rotated.max_size, rotated.max_files), (Some(10 << 20), 3));
        assert!(!read("none", &[]).expect("settings").keep);
        let local = read("local", &[]).expect("settings");
        assert_eq!(
            (local.max_size, local.max_files, local.compress),
            (Some(20 << 20), 5, true)
        );
        let plain = read("local", &[("compress", "false"), ("max-file", "1")]);
        assert!(!plain.expect("settings").compress && !rotated.compress);
        let packed = read("", &[("compress", "1"), ("max-file", "2"), ("max-size", "1m")]);
        assert!(packed.expect("settings").compress);
        let syslog = read(
            "syslog",
            &[
                ("syslog-address", "udp://10.0.0.1:514"),
                ("syslog-facility", "local7"),
            ],
        );
        let wanted = ForwardTo::Syslog {
            address: "udp://10.0.0.1:514".to_owned(),
            facility: 23,
            structured: false,
            tls: None,
        };
        assert_eq!(syslog.expect("settings").forward, Some(wanted));
        let secured = read(
            "syslog",
            &[
                ("syslog-address", "tcp+tls://log.example:6514"),
                ("syslog-tls-ca-cert", "/ca.pem"),
                ("syslog-tls-skip-verify", "false"),
            ],
        );
        let Some(ForwardTo::Syslog { tls: Some(tls), .. }) = secured.expect("settings").forward else {
            panic!("no syslog");
        };
        let wanted = SyslogTls {
            authority: Some("/ca.pem".into()),
            anybody: true,
            ..SyslogTls::default()
        };
        assert_eq!(tls, wanted);
        let attributes = read(
            "",
            &[
                ("labels", "a,b"),
                ("env-regex", "^CNM_"),
                ("mode", "non-blocking"),
                ("max-buffer-size", "4m"),
            ],
        );
        let attributes = attributes.expect("settings").attributes;
        assert_eq!(
            (&attributes.labels[..], &*attributes.env_regex),
            (&["a".to_owned(), "b".to_owned()][..], "^CNM_")
        );
    }

    #[test]
    fn what_no_driver_has_is_refused() {
        for (driver, options) in [
            ("json-file", &[("labels-regex", "(")][..]),
            ("json-file", &[("mode", "sometimes")]),
            ("json-file", &[("max-buffer-size", "4m")]),
            (
                "json-file",
                &[("mode", "non-blocking"), ("max-buffer-size", "much")],
            ),
            ("splunk", &[]),
            ("json-file", &[("syslog-address", "udp://x")]),
            ("json-file", &[("max-file", "0")]),
            ("json-file", &[("compress", "true")]),
            ("json-file", &[("compress", "true"), ("max-size", "1m")]),
            ("json-file", &[("compress", "true"), ("max-file", "2")]),
            (
                "json-file",
                &[("compress", "yes"), ("max-file", "2"), ("max-size", "1m")],
            ),
            ("local", &[("max-file", "1")]),
            ("json-file", &[("max-size", "lots")]),
            ("syslog", &[("syslog-facility", "weather")]),
            ("syslog", &[("syslog-address", "10.0.0.1")]),
        ] {
            assert!(read(driver, options).is_err(), "{driver} {options:?}");
        }
    }
}
