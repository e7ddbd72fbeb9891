//! `-e` and `--env-file`, labels and label files.

use std::path::{Path, PathBuf};

/// `-e NAME=VALUE` or `-e NAME`; checked when parsed.
pub(crate) fn variable(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(format!("invalid environment variable: {text}"));
    }
    Ok(text.to_owned())
}

/// All variables, those of files first. A name without a value takes ours, and is left out if we have none.
pub(crate) fn variables(
    given: &[String],
    files: &[PathBuf],
    ours: impl Fn(&str) -> Option<String>,
) -> Result<Option<Vec<String>>, String> {
    let mut variables = Vec::new();
    let resolved = |text: &str| match text.contains('=') {
        true => Some(text.to_owned()),
        false => ours(text).map(|value| format!("{text}={value}")),
    };
    for path in files {
        variables.extend(lines(path, "variable")?.iter().filter_map(|line| resolved(line)));
    }
    variables.extend(given.iter().filter_map(|text| resolved(text)));
    Ok((!variables.is_empty()).then_some(variables))
}

/// Labels of files first, then those given.
pub(crate) fn labels(given: &[String], files: &[PathBuf]) -> Result<Vec<String>, String> {
    let mut labels = Vec::new();
    for path in files {
        labels.extend(lines(path, "label")?);
    }
    labels.extend_from_slice(given);
    Ok(labels)
}

fn lines(path: &Path, what: &str) -> Result<Vec<String>, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    parse(&text, what).map_err(|error| format!("{}: {error}", path.display()))
}

/// Lines of a file; blank ones and comments are passed over.
fn parse(text: &str, what: &str) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.is_empty() {
            return Err(format!("line {}: no {what} name", index + 1));
        }
        if name.contains(char::is_whitespace) {
            return Err(format!(
                "line {}: {what} {name:?} contains white space",
                index + 1
            ));
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_alone_takes_our_value_or_goes() {
        let ours = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let given = [
            "A=1".to_owned(),
            "HOME".to_owned(),
            "NOPE".to_owned(),
            "B=".to_owned(),
        ];
        let expected = vec!["A=1".to_owned(), "HOME=/root".to_owned(), "B=".to_owned()];
        assert_eq!(variables(&given, &[], ours), Ok(Some(expected)));
        assert_eq!(variables(&[], &[], ours), Ok(None));
    }

    #[test]
    fn files_have_comments_and_values_with_anything_in_them() {
        let text = "\u{feff}# comment\n\n A=1 2=3\nB\nC= x \r\n";
        assert_eq!(
            parse(text, "variable"),
            Ok(vec!["A=1 2=3".into(), "B".into(), "C= x ".into()])
        );
        for bad in ["=x", "A B=1"] {
            assert!(parse(bad, "variable").is_err(), "{bad}");
        }
    }
}
