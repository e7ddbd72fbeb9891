//! `--change`: Dockerfile instructions that set an image's defaults at import or commit.

use std::time::Duration;

use crate::{Defaults, Error, Healthcheck, Result, document::Empty};

/// Applies one instruction.
pub(crate) fn apply(defaults: &mut Defaults, line: &str) -> Result<()> {
    change(defaults, line.trim()).map_err(|reason| Error::InvalidChange {
        line: line.to_owned(),
        reason,
    })
}

fn change(defaults: &mut Defaults, line: &str) -> Result<(), String> {
    let (instruction, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (instruction, rest) = (instruction.to_ascii_uppercase(), rest.trim());
    let wanted = |rest: &str| match rest {
        "" => Err(format!("{instruction} wants an argument")),
        rest => Ok(rest.to_owned()),
    };
    match instruction.as_str() {
        "CMD" => defaults.cmd = command(rest, defaults),
        "ENTRYPOINT" => {
            defaults.entrypoint = command(rest, defaults);
            defaults.cmd = None; // it was meant for the entry point before
        }
        "ENV" => pairs(&wanted(rest)?)?
            .into_iter()
            .for_each(|(name, value)| set_env(&mut defaults.env, &name, &value)),
        "LABEL" => defaults.labels.extend(pairs(&wanted(rest)?)?),
        "USER" => defaults.user = wanted(rest)?,
        "WORKDIR" => defaults.working_dir = join(&defaults.working_dir, &wanted(rest)?),
        "STOPSIGNAL" => defaults.stop_signal = Some(wanted(rest)?),
        "ONBUILD" => defaults.on_build.push(wanted(rest)?),
        "EXPOSE" => {
            for port in words(&wanted(rest)?)? {
                defaults.exposed_ports.insert(exposed(&port)?, Empty {});
            }
        }
        "VOLUME" => {
            let paths = match array(rest) {
                Some(paths) => paths,
                None => words(&wanted(rest)?)?,
            };
            defaults
                .volumes
                .extend(paths.into_iter().map(|path| (path, Empty {})));
        }
        "HEALTHCHECK" => defaults.healthcheck = Some(healthcheck(&wanted(rest)?, defaults)?),
        "SHELL" => defaults.shell = Some(array(rest).ok_or("SHELL wants a JSON array")?),
        "" => return Err("an instruction is wanted".to_owned()),
        _ => {
            return Err(format!(
                "{instruction} is not one of CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME, WORKDIR"
            ));
        }
    }
    Ok(())
}

fn array(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// A JSON array is run as it is; anything else by a shell; nothing clears.
fn command(text: &str, defaults: &Defaults) -> Option<Vec<String>> {
    if text.is_empty() {
        return None;
    }
    Some(array(text).unwrap_or_else(|| {
        let shell = defaults
            .shell
            .clone()
            .unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
        shell.into_iter().chain([text.to_owned()]).collect()
    }))
}

fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    match env.iter_mut().find(|old| old.split('=').next() == Some(name)) {
        Some(old) => *old = entry,
        None => env.push(entry),
    }
}

/// `A=1 B="2 3"`, or the older `A the rest of the line`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let first = text.split(char::is_whitespace).next().unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = text
            .split_once(char::is_whitespace)
            .ok_or(format!("{text:?} has no value"))?;
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    words(text)?
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(format!("{word:?} has no name")),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(format!("{word:?} is not NAME=VALUE")),
        })
        .collect()
}

/// Splits at white space outside quotes; a backslash takes the next character as it is.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (letter, Some(open)) if letter == open => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(letters.next()),
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

fn join(base: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    format!("{}/{path}", base.trim_end_matches('/'))
}

fn exposed(text: &str) -> Result<String, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let number = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0);
    let valid = match ports.split_once('-') {
        Some((first, last)) => number(first) && number(last),
        None => number(ports),
    };
    if valid && matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Ok(format!("{ports}/{protocol}"));
    }
    Err(format!("{text:?} is not PORT[/tcp|udp|sctp]"))
}

fn healthcheck(text: &str, defaults: &Defaults) -> Result<Healthcheck, String> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option
            .split_once(char::is_whitespace)
            .ok_or("HEALTHCHECK wants CMD or NONE")?;
        let (name, value) = option
            .split_once('=')
            .ok_or(format!("--{option} wants a value"))?;
        match name {
            "interval" => check.interval = nanoseconds(value)?,
            "timeout" => check.timeout = nanoseconds(value)?,
            "start-period" => check.start_period = nanoseconds(value)?,
            "start-interval" => check.start_interval = nanoseconds(value)?,
            "retries" => check.retries = value.parse().map_err(|_| format!("{value:?} is no number"))?,
            _ => return Err(format!("HEALTHCHECK has no option --{name}")),
        }
        rest = after.trim_start();
    }
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    check.test = match (kind.to_ascii_uppercase().as_str(), array(rest.trim())) {
        ("NONE", _) => vec!["NONE".to_owned()],
        ("CMD", _) if rest.trim().is_empty() => return Err("HEALTHCHECK CMD wants a command".to_owned()),
        ("CMD", Some(words)) => [vec!["CMD".to_owned()], words].concat(),
        ("CMD", None) => match &defaults.shell {
            None => vec!["CMD-SHELL".to_owned(), rest.trim().to_owned()],
            Some(shell) => [&["CMD".to_owned()], shell.as_slice(), &[rest.trim().to_owned()]].concat(),
        },
        _ => return Err("HEALTHCHECK wants CMD or NONE".to_owned()),
    };
    Ok(check)
}

/// `1m30s`, `500ms`.
fn nanoseconds(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no duration such as \"1m30s\"");
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |at| digits + at);
        let one = match &rest[digits..unit] {
            "h" => Duration::from_secs(3600),
            "m" => Duration::from_secs(60),
            "s" => Duration::from_secs(1),
            "ms" => Duration::from_millis(1),
            "us" | "µs" => Duration::from_micros(1),
            "ns" => Duration::from_nanos(1),
            _ => return Err(wrong()),
        };
        total += one.checked_mul(number).ok_or_else(wrong)?;
        rest = &rest[unit..];
    }
    i64::try_from(total.as_nanos()).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(lines: &[&str]) -> serde_json::Value {
        let mut defaults = Defaults::default();
        for line in lines {
            apply(&mut defaults, line).expect(line);
        }
        serde_json::to_value(defaults).expect("JSON")
    }

    #[test]
    fn instructions_set_what_a_dockerfile_would() {
        for (lines, field, value) in [
            (&["CMD [\"httpd\",\"-f\"]"][..], "/Cmd", r#"["httpd","-f"]"#),
            (&["CMD httpd -f"], "/Cmd", r#"["/bin/sh","-c","httpd -f"]"#),
            (&["cmd sh", "ENTRYPOINT [\"x\"]"], "/Entrypoint", r#"["x"]"#),
            (&["ENV A=1 B=\"2 3\"", "ENV A=4"], "/Env", r#"["A=4","B=2 3"]"#),
            (&["ENV A b c"], "/Env", r#"["A=b c"]"#),
            (&["LABEL a=b 'c d'=e"], "/Labels", r#"{"a":"b","c d":"e"}"#),
            (
                &["EXPOSE 80 53/UDP"],
                "/ExposedPorts",
                r#"{"53/udp":{},"80/tcp":{}}"#,
            ),
            (&["VOLUME /a /b"], "/Volumes", r#"{"/a":{},"/b":{}}"#),
            (&["VOLUME [\"/a b\"]"], "/Volumes", r#"{"/a b":{}}"#),
            (&["WORKDIR /a", "WORKDIR b"], "/WorkingDir", r#""/a/b""#),
            (&["USER 1000:1000"], "/User", r#""1000:1000""#),
            (&["STOPSIGNAL SIGINT"], "/StopSignal", r#""SIGINT""#),
            (
                &["HEALTHCHECK --interval=1m30s --retries=2 CMD true"],
                "/Healthcheck",
                r#"{"Test":["CMD-SHELL","true"],"Interval":90000000000,"Retries":2}"#,
            ),
        ] {
            let wanted: serde_json::Value = serde_json::from_str(value).expect(value);
            assert_eq!(changed(lines).pointer(field), Some(&wanted), "{lines:?}");
        }
    }

    #[test]
    fn instructions_that_make_no_sense_are_refused() {
        for line in [
            "",
            "RUN ls",
            "FROM x",
            "ENV",
            "ENV A",
            "ENV =1",
            "EXPOSE http",
            "EXPOSE 80/icmp",
            "LABEL \"a=b",
            "USER",
            "HEALTHCHECK",
            "HEALTHCHECK --interval=fast CMD x",
            "HEALTHCHECK CMD",
            "SHELL sh",
        ] {
            assert!(apply(&mut Defaults::default(), line).is_err(), "{line:?}");
        }
    }
}
