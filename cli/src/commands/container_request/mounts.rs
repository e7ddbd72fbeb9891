//! `-v`, in its three forms.

use std::path::Path;

/// Mounts, sorted by form.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mounts {
    /// `SOURCE:DESTINATION[:OPTIONS]`
    pub(super) binds: Vec<String>,
    /// `DESTINATION`
    pub(super) anonymous: Vec<String>,
}

/// Sorts them. A source that begins with a dot is relative to `directory`, which the daemon can't know.
pub(super) fn mounts(given: &[String], directory: &Path) -> Result<Mounts, String> {
    let mut mounts = Mounts::default();
    for text in given {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, destination) = match parts.as_slice() {
            [destination] => {
                absolute(destination, text)?;
                mounts.anonymous.push((*destination).to_owned());
                continue;
            }
            [source, destination] | [source, destination, _] if !source.is_empty() => (*source, *destination),
            _ => return Err(format!("invalid mount {text:?}: write /HOST:/CONTAINER[:ro]")),
        };
        absolute(destination, text)?;
        let rest = &text[source.len()..];
        if source.starts_with('.') {
            mounts.binds.push(format!("{}{rest}", lexical(directory, source)));
        } else {
            mounts.binds.push(text.clone());
        }
    }
    Ok(mounts)
}

fn absolute(destination: &str, text: &str) -> Result<(), String> {
    match destination {
        "/" => Err(format!("invalid mount {text:?}: the destination can't be /")),
        _ if destination.starts_with('/') => Ok(()),
        _ => Err(format!(
            "invalid mount {text:?}: the destination {destination:?} is not absolute"
        )),
    }
}

/// Joins without asking the file system: links stay what they are.
fn lexical(directory: &Path, source: &str) -> String {
    let mut path = directory.to_path_buf();
    for part in source.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                path.pop();
            }
            name => path.push(name),
        }
    }
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_has_one_two_or_three_parts() {
        let read = |text: &str| {
            mounts(&[text.to_owned()], Path::new("/home/me"))
                .map(|m| [m.binds, m.anonymous].concat().join(" "))
        };
        let cases = [
            ("/data", "/data"),
            ("/tmp:/data", "/tmp:/data"),
            ("/tmp:/data:ro", "/tmp:/data:ro"),
            ("name:/data", "name:/data"),
            ("./x:/data", "/home/me/x:/data"),
            ("../x:/data:ro", "/home/x:/data:ro"),
            (".:/data", "/home/me:/data"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["data", "/a:b", "/a:/", "/a:/b:ro:x", ":/b", ""] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
