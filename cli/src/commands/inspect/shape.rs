//! What a template may ask of an object that came as JSON.
//!
//! JSON does not tell a struct from a map, and templates care: `.State.Health` of a container without one is
//! nothing, `.Config.Labels.x` is no value, `.Nope` is an error. So the names of the API's maps and of its fields
//! that may be left out are known here.

use std::rc::Rc;

use crate::template::{Element, Map, Record, Value};

/// Maps of the API by the name of their field, and what they hold.
const MAPS: [(&str, Element); 21] = [
    ("Labels", Element::Text),
    ("Options", Element::Text),
    ("Config.Config", Element::Text),
    ("LogConfig.Config", Element::Text),
    ("DriverOpts", Element::Text),
    ("AuxiliaryAddresses", Element::Text),
    ("Sysctls", Element::Text),
    ("StorageOpt", Element::Text),
    ("Tmpfs", Element::Text),
    ("Annotations", Element::Text),
    ("GraphDriver.Data", Element::Text),
    ("Attributes", Element::Text),
    ("Ports", Element::List),
    ("PortBindings", Element::List),
    ("Networks", Element::Pointer),
    ("Containers", Element::Any),
    ("Services", Element::Any),
    ("ExposedPorts", Element::Any),
    ("Volumes", Element::Any),
    ("EndpointsConfig", Element::Pointer),
    ("Runtimes", Element::Any),
];

/// Fields that are left out when they hold nothing.
const OPTIONAL: [&str; 27] = [
    "Health",
    "Healthcheck",
    "ExposedPorts",
    "StopSignal",
    "StopTimeout",
    "Shell",
    "MacAddress",
    "NetworkDisabled",
    "ArgsEscaped",
    "SizeRw",
    "SizeRootFs",
    "Annotations",
    "StorageOpt",
    "Tmpfs",
    "Sysctls",
    "Runtime",
    "Mounts",
    "Init",
    "Peers",
    "Services",
    "IPv4Address",
    "IPv6Address",
    "LinkLocalIPs",
    "IPRange",
    "Gateway",
    "AuxiliaryAddresses",
    "Subnet",
];

/// The object as templates see it.
pub(crate) fn value(json: &serde_json::Value) -> Value {
    convert("", "", json)
}

fn convert(parent: &str, name: &str, json: &serde_json::Value) -> Value {
    let map = element(parent, name);
    match json {
        serde_json::Value::Object(entries) => match map {
            Some(element) =>
            // What is inside a map is named by no field.
            {
                Value::Map(Map::new(
                    entries
                        .iter()
                        .map(|(key, value)| (key.clone(), convert(name, "", value)))
                        .collect(),
                    element,
                ))
            }
            None => Value::Record(Rc::new(Object {
                fields: entries
                    .iter()
                    .map(|(key, value)| (key.clone(), convert(name, key, value)))
                    .collect(),
            })),
        },
        serde_json::Value::Array(items) => {
            Value::List(items.iter().map(|item| convert(parent, name, item)).collect())
        }
        serde_json::Value::Null => match map {
            Some(element) => Value::Map(Map::null(element)),
            // A list or a pointer; an empty list prints and counts as one, and is false like the other.
            None => Value::Nil,
        },
        other => Value::from_json(other),
    }
}

fn element(parent: &str, name: &str) -> Option<Element> {
    let qualified = format!("{parent}.{name}");
    MAPS.iter()
        .find(|(known, _)| *known == name || *known == qualified)
        .map(|(_, element)| *element)
}

/// A struct of the API.
#[derive(Debug)]
struct Object {
    fields: Vec<(String, Value)>,
}

impl Record for Object {
    fn kind(&self) -> String {
        "object".into()
    }

    fn get(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        if !arguments.is_empty() {
            return Some(Err(format!("{name} takes no arguments")));
        }
        let field = self.fields.iter().find(|(known, _)| known == name);
        match field {
            Some((_, value)) => Some(Ok(value.clone())),
            None if OPTIONAL.contains(&name) => Some(Ok(Value::Nil)),
            None => None,
        }
    }

    fn fields(&self) -> Vec<(String, Value)> {
        self.fields.clone()
    }

    fn unknown(&self, name: &str) -> String {
        format!("map has no entry for key \"{name}\"")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::template::{Functions, Template};

    #[test]
    fn templates_see_structs_maps_and_what_was_left_out() {
        let container = json!({
            "Id": "abc",
            "State": {"Status": "running", "Pid": 7, "OOMKilled": false},
            "Config": {"Env": ["A=1", "B=x y"], "Labels": {"k": "v"}, "Cmd": null},
            "HostConfig": {"Binds": null, "LogConfig": {"Type": "json-file", "Config": {}}},
            "NetworkSettings": {
                "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "81/tcp": null},
                "Networks": {"ol1": {"IPAddress": "172.16.2.2", "IPPrefixLen": 24}},
            },
            "Mounts": [],
        });
        let cases = [
            ("{{.State.Status}} {{.State.Pid}}", Ok("running 7")),
            ("{{.Config.Labels.nope}}", Ok("<no value>")),
            (r#"[{{index .Config.Labels "nope"}}]"#, Ok("[]")),
            ("{{.State.Health}}", Ok("<nil>")),
            (
                "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}",
                Ok("none"),
            ),
            (
                r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#,
                Ok("8080"),
            ),
            (
                "{{range $p, $c := .NetworkSettings.Ports}}{{$p}} -> {{(len $c)}} {{end}}",
                Err("nil pointer"),
            ),
            (
                "{{range $n, $e := .NetworkSettings.Networks}}{{$n}}={{.IPAddress}}/{{$e.IPPrefixLen}}{{end}}",
                Ok("ol1=172.16.2.2/24"),
            ),
            ("{{.NetworkSettings.Networks.ol1.IPAddress}}", Ok("172.16.2.2")),
            (
                "{{.Config.Env}} {{json .Config.Env}} {{json .Mounts}}",
                Ok(r#"[A=1 B=x y] ["A=1","B=x y"] []"#),
            ),
            (
                "{{json .HostConfig}}",
                Ok(r#"{"Binds":null,"LogConfig":{"Type":"json-file","Config":{}}}"#),
            ),
            ("{{range .Config.Env}}{{println .}}{{end}}", Ok("A=1\nB=x y\n")),
            ("{{.Nope}}", Err(r#"map has no entry for key "Nope""#)),
            ("{{.Nope.X}}", Err("<.Nope.X>")),
            (
                "{{index .Config.Env 2}}",
                Err("at <index .Config.Env 2>: error calling index: reflect: slice index out of range"),
            ),
        ];
        for (template, expected) in cases {
            let got =
                Template::parse(template).and_then(|t| t.execute(&value(&container), Functions::Values));
            match (got.map_err(|error| error.to_string()), expected) {
                (Ok(text), Ok(expected)) => assert_eq!(text, expected, "{template}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{template}: {error}"),
                (got, _) => panic!("{template}: {got:?}"),
            }
        }
    }
}
