//! Names of images.

/// A name with the tag that is meant when none is said: `busybox` is `busybox:latest`.
pub(crate) fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if name.contains('@') || last.contains(':') {
        name.to_owned()
    } else {
        format!("{name}:latest")
    }
}

/// Repository and tag; the tag is empty when there is none.
pub(crate) fn split(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        let cases = [
            ("busybox", "busybox:latest", ("busybox", "")),
            ("busybox:1", "busybox:1", ("busybox", "1")),
            ("reg:5000/a", "reg:5000/a:latest", ("reg:5000/a", "")),
            ("reg:5000/a:2", "reg:5000/a:2", ("reg:5000/a", "2")),
        ];
        for (name, tagged, parts) in cases {
            assert_eq!(with_tag(name), tagged);
            assert_eq!(split(name), parts);
        }
        assert_eq!(with_tag("a@sha256:00"), "a@sha256:00");
    }
}
