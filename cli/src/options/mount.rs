//! `--mount type=volume,source=data,target=/data,readonly`: fields of one line of CSV.

use api_types::{BindOptions, MountRequest, TmpfsOptions, VolumeDriverConfig, VolumeOptions};

use crate::units::parse_size;

/// Reads one `--mount`. A relative source of a bind is left as it is: the caller knows where we are.
pub(crate) fn mount(text: &str) -> Result<MountRequest, String> {
    let mut mount = MountRequest {
        r#type: "volume".to_owned(),
        ..MountRequest::default()
    };
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        set(&mut mount, &key, value, &field)?;
    }
    check(&mount)?;
    Ok(mount)
}

fn set(mount: &mut MountRequest, key: &str, value: Option<&str>, field: &str) -> Result<(), String> {
    let switch = |value: Option<&str>| match value {
        None => Ok(true),
        Some("1" | "t" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "false" | "FALSE" | "False") => Ok(false),
        Some(value) => Err(format!("invalid value for {key}: {value}")),
    };
    match key {
        "readonly" | "ro" => mount.read_only = switch(value)?,
        "volume-nocopy" => volume(mount).no_copy = switch(value)?,
        "bind-nonrecursive" => bind(mount).non_recursive = switch(value)?,
        "bind-create-src" => bind(mount).create_mountpoint = switch(value)?,
        _ => {
            let value = value.ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
            set_value(mount, key, value, field)?;
        }
    }
    Ok(())
}

fn set_value(mount: &mut MountRequest, key: &str, value: &str, field: &str) -> Result<(), String> {
    match key {
        "type" => mount.r#type = value.to_ascii_lowercase(),
        "source" | "src" => value.clone_into(&mut mount.source),
        "target" | "dst" | "destination" => value.clone_into(&mut mount.target),
        "consistency" => mount.consistency = value.to_ascii_lowercase(),
        "bind-propagation" => bind(mount).propagation = value.to_ascii_lowercase(),
        "bind-recursive" => match value {
            "enabled" => {}
            "disabled" => bind(mount).non_recursive = true,
            "writable" => bind(mount).read_only_non_recursive = true,
            "readonly" => bind(mount).read_only_force_recursive = true,
            _ => {
                return Err(format!(
                    "invalid value for {key}: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                ));
            }
        },
        "volume-subpath" => value.clone_into(&mut volume(mount).subpath),
        "volume-label" => {
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            volume(mount).labels.insert(name.to_owned(), value.to_owned());
        }
        "volume-driver" => value.clone_into(&mut driver(mount).name),
        "volume-opt" => {
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            driver(mount).options.insert(name.to_owned(), value.to_owned());
        }
        "tmpfs-size" => {
            let size = parse_size(value).map_err(|_| format!("invalid value for {key}: {value}"))?;
            memory(mount).size_bytes = size;
        }
        "tmpfs-mode" => {
            let mode =
                u32::from_str_radix(value, 8).map_err(|_| format!("invalid value for {key}: {value}"))?;
            memory(mount).mode = mode;
        }
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

fn bind(mount: &mut MountRequest) -> &mut BindOptions {
    mount.bind_options.get_or_insert_default()
}

fn volume(mount: &mut MountRequest) -> &mut VolumeOptions {
    mount.volume_options.get_or_insert_default()
}

fn driver(mount: &mut MountRequest) -> &mut VolumeDriverConfig {
    volume(mount).driver_config.get_or_insert_default()
}

fn memory(mount: &mut MountRequest) -> &mut TmpfsOptions {
    mount.tmpfs_options.get_or_insert_default()
}

fn check(mount: &MountRequest) -> Result<(), String> {
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    let kind = mount.r#type.as_str();
    for (options, given, of) in [
        ("bind-*", mount.bind_options.is_some(), "bind"),
        ("volume-*", mount.volume_options.is_some(), "volume"),
        ("tmpfs-*", mount.tmpfs_options.is_some(), "tmpfs"),
    ] {
        if given && kind != of {
            return Err(format!("cannot mix '{options}' options with mount type '{kind}'"));
        }
    }
    Ok(())
}

/// Fields between commas; a field in quotes may have commas, and two quotes in it are one.
fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        let field = fields.last_mut().ok_or("no field")?;
        match next {
            '"' if quoted && rest.peek() == Some(&'"') => {
                rest.next();
                field.push('"');
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    match quoted {
        true => Err(format!("invalid mount {text:?}: a quote is not closed")),
        false => Ok(fields),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match mount(text) {
            Ok(mount) => serde_json::to_string(&mount).expect("JSON"),
            Err(error) => error,
        }
    }

    #[test]
    fn fields_are_read_as_docker_reads_them() {
        for (text, wanted) in [
            (
                "source=data,target=/x",
                r#"{"Type":"volume","Source":"data","Target":"/x"}"#,
            ),
            (
                "type=bind,src=/a,dst=/b,ro,bind-propagation=rshared",
                r#"{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true,"BindOptions":{"Propagation":"rshared"}}"#,
            ),
            (
                "type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=1770",
                r#"{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1048576,"Mode":1016}}"#,
            ),
            (
                r#"dst=/x,volume-nocopy,volume-driver=local,"volume-opt=o=ro,nosuid",volume-opt=type=nfs"#,
                r#"{"Type":"volume","Target":"/x","VolumeOptions":{"NoCopy":true,"DriverConfig":{"Name":"local","Options":{"o":"ro,nosuid","type":"nfs"}}}}"#,
            ),
            ("source=data", "target is required"),
            ("dst=/x,odd=1", "unexpected key 'odd' in 'odd=1'"),
            ("dst=/x,odd", "invalid field 'odd' must be a key=value pair"),
            ("dst=/x,ro=perhaps", "invalid value for ro: perhaps"),
            (
                "type=bind,src=/a,dst=/x,volume-nocopy",
                "cannot mix 'volume-*' options with mount type 'bind'",
            ),
            (
                r#"dst=/x,"src=a"#,
                r#"invalid mount "dst=/x,\"src=a": a quote is not closed"#,
            ),
        ] {
            assert_eq!(read(text), wanted, "{text}");
        }
    }
}
