//! The commands: one file each.

mod add;
mod check;
mod del;
mod gc;
mod status;

use serde_json::{Value, json};

use crate::{
    config::{self, Config},
    daemon::Daemon,
    environment::{Command, Environment},
    failure::{Code, Failure},
    version::Version,
};

/// By this name the daemon knows who asks.
const MANAGER: &str = "cni";

/// Does what is asked. What it answers goes to stdout.
pub fn run(environment: &Environment, stdin: &[u8]) -> Result<String, Failure> {
    let command = environment.command()?;
    if command == Command::Version {
        return versions(stdin);
    }
    let config = Config::parse(stdin)?;
    since(command, config.version)?;
    let daemon = Daemon::at(config.socket.as_deref());
    let answer = match command {
        Command::Add => Some(add::add(environment, &config, &daemon)?),
        Command::Del => del::del(environment, &config, &daemon).map(|()| None)?,
        Command::Check => check::check(environment, &config, &daemon).map(|()| None)?,
        Command::Gc => gc::gc(&config, &daemon).map(|()| None)?,
        Command::Status => status::status(&config, &daemon).map(|()| None)?,
        Command::Version => None,
    };
    Ok(answer.map(|answer| format!("{answer:#}\n")).unwrap_or_default())
}

/// In the version that is asked for, if we speak it.
fn versions(stdin: &[u8]) -> Result<String, Failure> {
    let asked = match stdin.iter().all(u8::is_ascii_whitespace) {
        true => Version::NEWEST,
        false => {
            let config: Value = serde_json::from_slice(stdin).map_err(|error| {
                Failure::new(Code::Undecodable, format!("the request can't be read: {error}"))
            })?;
            config::version(&config).unwrap_or(Version::NEWEST)
        }
    };
    let all = Version::ALL.map(Version::as_str);
    let document = json!({"cniVersion": asked.as_str(), "supportedVersions": all});
    Ok(format!("{document:#}\n"))
}

/// Refuses what a version of the specification doesn't have yet.
fn since(command: Command, version: Version) -> Result<(), Failure> {
    let first = match command {
        Command::Check => Version::V0_4_0,
        Command::Gc | Command::Status => Version::V1_1_0,
        Command::Add | Command::Del | Command::Version => return Ok(()),
    };
    match version < first {
        true => Err(Failure::new(
            Code::IncompatibleVersion,
            format!(
                "version {} of the specification has no {}",
                version.as_str(),
                command.as_str()
            ),
        )
        .with(format!("it came with {}", first.as_str()))),
        false => Ok(()),
    }
}

/// The interface's name: the configuration's own, else the runtime's.
fn interface<'a>(environment: &'a Environment, config: &'a Config) -> Result<&'a str, Failure> {
    let asked = environment.interface()?;
    Ok(config.interface.as_deref().unwrap_or(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(command: &'static str, config: &str) -> Result<String, Failure> {
        let environment = Environment::read(|name| match name {
            "CNI_COMMAND" => Some(command.to_owned()),
            "CNI_CONTAINERID" => Some("one".to_owned()),
            "CNI_NETNS" => Some("/proc/self/ns/net".to_owned()),
            "CNI_IFNAME" => Some("eth0".to_owned()),
            _ => None,
        });
        run(&environment, config.as_bytes())
    }

    #[test]
    fn versions_are_told_in_the_version_that_asks() {
        for (stdin, told) in [
            (r#"{"cniVersion": "0.4.0"}"#, "0.4.0"),
            (r#"{"cniVersion": "0.1.0"}"#, "1.1.0"),
            ("{}", "1.1.0"),
            ("", "1.1.0"),
        ] {
            let answer: Value = serde_json::from_str(&called("VERSION", stdin).unwrap()).unwrap();
            let wanted = json!({
                "cniVersion": told,
                "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
            });
            assert_eq!(answer, wanted, "{stdin}");
        }
        assert_eq!(
            called("VERSION", "{").expect_err("cut off").code,
            Code::Undecodable
        );
    }

    #[test]
    fn each_command_is_asked_of_versions_that_have_it() {
        let nobody = "/nowhere/cnm.sock";
        for (command, version, code) in [
            ("ADD", "0.2.0", Code::IncompatibleVersion),
            ("ADD", "0.3.0", Code::TryAgain),
            ("DEL", "0.3.1", Code::TryAgain),
            ("DEL", "1.1.0", Code::TryAgain),
            ("CHECK", "0.3.1", Code::IncompatibleVersion),
            ("CHECK", "0.4.0", Code::InvalidConfig),
            ("GC", "1.0.0", Code::IncompatibleVersion),
            ("GC", "1.1.0", Code::InvalidConfig),
            ("STATUS", "1.0.0", Code::IncompatibleVersion),
            ("STATUS", "1.1.0", Code::NotAvailable),
        ] {
            let config = json!({"cniVersion": version, "name": "lan", "socket": nobody});
            let failure = called(command, &config.to_string()).expect_err(command);
            assert_eq!(failure.code, code, "{command} {version}: {failure:?}");
        }
    }
}
