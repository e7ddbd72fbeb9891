//! The command line: the table of [`crate::options`] as flags.

use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};
use serde_json::{Map, Value};

use crate::options::{Kind, ROWS, Row};

/// What was typed.
#[derive(Debug)]
pub struct Arguments {
    /// `--config-file`, if given.
    pub config_file: Option<String>,
    /// `--validate`: read the configuration, say what is wrong with it, and end.
    pub validate: bool,
    /// Options by `daemon.json` key, shaped as the file would have them.
    pub options: Map<String, Value>,
}

/// Why a flag's value is refused.
#[derive(Debug, thiserror::Error)]
#[error("--{flag} {value:?}: {rule}")]
pub struct ArgumentError {
    flag: &'static str,
    value: String,
    rule: &'static str,
}

/// The grammar.
pub fn command(program: &'static str) -> Command {
    let own = [
        Arg::new("config-file")
            .long("config-file")
            .value_name("FILE")
            .help("Configuration file (daemon.json)"),
        Arg::new("validate")
            .long("validate")
            .action(ArgAction::SetTrue)
            .help("Check the configuration and end"),
    ];
    Command::new(program)
        .version(env!("CARGO_PKG_VERSION"))
        .about("The daemon of cnm: container networks that span hosts, with and without Docker")
        .after_help("Flags that dockerd has and this daemon doesn't are taken with a warning.")
        .args(own)
        .args(ROWS.iter().map(argument))
}

fn argument(row: &Row) -> Arg {
    let arg = Arg::new(row.key).long(row.flag).hide(row.help.is_none());
    let arg = match row.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    let arg = match row.help {
        Some(help) => arg.help(help),
        None => arg,
    };
    match row.kind {
        Kind::Switch => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("true|false")
            .value_parser(clap::builder::BoolishValueParser::new()),
        Kind::Text => arg.action(ArgAction::Set).value_name("TEXT"),
        Kind::Number => arg
            .action(ArgAction::Set)
            .value_name("NUMBER")
            .value_parser(clap::value_parser!(i64)),
        Kind::List => arg.action(ArgAction::Append).value_name("TEXT"),
        Kind::Pairs | Kind::DriverPairs | Kind::Objects => {
            arg.action(ArgAction::Append).value_name("KEY=VALUE")
        }
    }
}

/// Reads what clap matched.
pub fn read(matches: &ArgMatches) -> Result<Arguments, ArgumentError> {
    let mut options = Map::new();
    for row in ROWS {
        if matches.value_source(row.key) == Some(ValueSource::CommandLine) {
            options.insert(row.key.to_owned(), value(row, matches)?);
        }
    }
    Ok(Arguments {
        config_file: matches.get_one("config-file").cloned(),
        validate: matches.get_flag("validate"),
        options,
    })
}

fn value(row: &Row, matches: &ArgMatches) -> Result<Value, ArgumentError> {
    let texts = || matches.get_many::<String>(row.key).into_iter().flatten();
    let pair = |text: &str| {
        let wrong = || ArgumentError {
            flag: row.flag,
            value: text.to_owned(),
            rule: "KEY=VALUE is wanted",
        };
        let (key, value) = text.split_once('=').ok_or_else(wrong)?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    };
    Ok(match row.kind {
        Kind::Switch => matches.get_one::<bool>(row.key).copied().unwrap_or(true).into(),
        Kind::Number => matches
            .get_one::<i64>(row.key)
            .copied()
            .unwrap_or_default()
            .into(),
        Kind::Text => matches
            .get_one::<String>(row.key)
            .cloned()
            .unwrap_or_default()
            .into(),
        Kind::List => texts().cloned().collect::<Vec<_>>().into(),
        Kind::Pairs => {
            let pairs = texts().map(|text| pair(text).map(|(key, value)| (key, Value::from(value))));
            Value::Object(pairs.collect::<Result<_, _>>()?)
        }
        Kind::DriverPairs => {
            let mut drivers = Map::new();
            for text in texts() {
                let (driver, rest) = pair(text)?;
                let (key, value) = pair(&rest)?;
                let options = drivers.entry(driver).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(options) = options {
                    options.insert(key, value.into());
                }
            }
            Value::Object(drivers)
        }
        Kind::Objects => {
            let object = |text: &String| {
                let pairs = text
                    .split(',')
                    .map(|part| pair(part).map(|(key, value)| (key, number_or_text(value))));
                Ok(Value::Object(pairs.collect::<Result<_, ArgumentError>>()?))
            };
            Value::Array(texts().map(object).collect::<Result<_, ArgumentError>>()?)
        }
    })
}

/// `size=24` is a number in the file's JSON.
fn number_or_text(text: String) -> Value {
    text.parse::<i64>().map_or(Value::String(text), Value::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(line: &str) -> Value {
        let matches = command("cnmd")
            .try_get_matches_from(line.split(' '))
            .expect("the line is right");
        Value::Object(read(&matches).expect("the values are right").options)
    }

    #[test]
    fn the_grammar_is_sound() {
        command("cnmd").debug_assert();
    }

    #[test]
    fn flags_read_as_the_files_keys() {
        let rows = [
            ("cnmd", json!({})),
            ("cnmd -D --icc=false", json!({"debug": true, "icc": false})),
            (
                "cnmd -H unix:///a -H unix:///b",
                json!({"hosts": ["unix:///a", "unix:///b"]}),
            ),
            (
                "cnmd --default-address-pool base=10.0.0.0/8,size=24",
                json!({"default-address-pools": [{"base": "10.0.0.0/8", "size": 24}]}),
            ),
            (
                "cnmd --default-network-opt bridge=a=1 --default-network-opt bridge=b=x=2",
                json!({"default-network-opts": {"bridge": {"a": "1", "b": "x=2"}}}),
            ),
            (
                "cnmd --storage-driver overlay2 --live-restore",
                json!({"live-restore": true, "storage-driver": "overlay2"}),
            ),
        ];
        for (line, expected) in rows {
            assert_eq!(options(line), expected, "{line}");
        }
    }

    #[test]
    fn what_nobody_knows_is_refused_with_what_was_meant() {
        let error = command("cnmd")
            .try_get_matches_from(["cnmd", "--cluster-stor", "x"])
            .expect_err("unknown");
        assert!(error.to_string().contains("--cluster-store"), "{error}");
    }
}
