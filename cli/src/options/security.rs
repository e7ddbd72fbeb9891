//! `--security-opt`, capabilities and devices.

use api_types::DeviceMapping;

/// Security options as the daemon takes them, and whether system paths stay visible.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Security {
    pub(crate) options: Vec<String>,
    pub(crate) all_system_paths: bool,
}

/// Resolves `--security-opt`. A seccomp profile is a file of *ours*, so its content is sent, not its name.
pub(crate) fn security(
    given: &[String],
    read: impl Fn(&str) -> std::io::Result<String>,
) -> Result<Security, String> {
    let mut security = Security::default();
    for option in given {
        let (key, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
            Some(pair) => pair,
            None if option == "no-new-privileges" => (option.as_str(), "true"),
            None => return Err(format!("invalid security option {option:?}: write KEY=VALUE")),
        };
        match (key, value) {
            ("systempaths", "unconfined") => security.all_system_paths = true,
            ("seccomp", "unconfined" | "builtin") => security.options.push(option.clone()),
            ("seccomp", path) => security
                .options
                .push(format!("seccomp={}", profile(path, &read)?)),
            _ => security.options.push(option.clone()),
        }
    }
    Ok(security)
}

fn profile(path: &str, read: impl Fn(&str) -> std::io::Result<String>) -> Result<String, String> {
    let text = read(path).map_err(|error| format!("reading seccomp profile {path:?}: {error}"))?;
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("seccomp profile {path:?}: {error}"))?;
    Ok(json.to_string())
}

/// A capability in the form `CAP_NET_ADMIN`, or `ALL`.
pub(crate) fn capability(text: &str) -> Result<String, String> {
    let name = text.to_ascii_uppercase();
    if name.is_empty()
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return Err(format!("invalid capability {text:?}"));
    }
    Ok(if name == "ALL" || name.starts_with("CAP_") {
        name
    } else {
        format!("CAP_{name}")
    })
}

/// `/dev/x`, `/dev/x:/dev/y`, `/dev/x:rw`, `/dev/x:/dev/y:r`.
pub(crate) fn device(text: &str) -> Result<DeviceMapping, String> {
    let invalid = || format!("invalid device {text:?}: write /dev/HOST[:/dev/CONTAINER][:rwm]");
    let mode = |text: &str| !text.is_empty() && text.bytes().all(|byte| b"rwm".contains(&byte));
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, permissions) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, last] if mode(last) => (*host, *host, *last),
        [host, inside] => (*host, *inside, "rwm"),
        [host, inside, last] if mode(last) => (*host, *inside, *last),
        _ => return Err(invalid()),
    };
    if !host.starts_with('/') || !inside.starts_with('/') {
        return Err(invalid());
    }
    Ok(DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: inside.to_owned(),
        cgroup_permissions: permissions.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_sent_by_its_content() {
        let given: Vec<String> = [
            "seccomp=/p.json",
            "no-new-privileges",
            "apparmor=x",
            "systempaths=unconfined",
            "seccomp:unconfined",
        ]
        .map(str::to_owned)
        .into();
        let got = security(&given, |_| Ok("{ \"a\": [1] }".into())).expect("good");
        assert_eq!(
            got.options,
            [
                "seccomp={\"a\":[1]}",
                "no-new-privileges",
                "apparmor=x",
                "seccomp:unconfined"
            ]
        );
        assert!(got.all_system_paths);
        assert!(security(&["bogus".into()], |_| Ok(String::new())).is_err());
        assert!(security(&["seccomp=/p".into()], |_| Ok("no json".into())).is_err());
    }

    #[test]
    fn capabilities_get_their_prefix() {
        assert_eq!(capability("net_admin"), Ok("CAP_NET_ADMIN".into()));
        assert_eq!(capability("CAP_CHOWN"), Ok("CAP_CHOWN".into()));
        assert_eq!(capability("all"), Ok("ALL".into()));
        assert!(capability("").is_err() && capability("a b").is_err());
    }

    #[test]
    fn devices_have_up_to_three_parts() {
        let read = |text| {
            device(text)
                .map(|d| {
                    format!(
                        "{}>{}>{}",
                        d.path_on_host, d.path_in_container, d.cgroup_permissions
                    )
                })
                .ok()
        };
        assert_eq!(read("/dev/x").as_deref(), Some("/dev/x>/dev/x>rwm"));
        assert_eq!(read("/dev/x:r").as_deref(), Some("/dev/x>/dev/x>r"));
        assert_eq!(read("/dev/x:/dev/y:rw").as_deref(), Some("/dev/x>/dev/y>rw"));
        assert!(read("x").is_none() && read("/a:/b:z").is_none() && read("/a:/b:r:w").is_none());
    }
}
