//! Replies as plugins in all languages write them, read as Go's JSON reads them.
//!
//! Names are matched without regard to case, unknown ones are passed over, of two the last counts, null is nothing, and
//! what follows the first value is nobody's business.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The names that replies are made of. Names of the user's own, below [`FREE`], are left as they are.
const NAMES: [&str; 42] = [
    "Address",
    "AddressIPv6",
    "ConnectivityScope",
    "Data",
    "Destination",
    "DisableGatewayService",
    "DstName",
    "DstPrefix",
    "Err",
    "Error",
    "Gateway",
    "GatewayIPv6",
    "GlobalDefaultAddressSpace",
    "GwAllocChecker",
    "Implements",
    "Interface",
    "InterfaceName",
    "LocalDefaultAddressSpace",
    "MacAddress",
    "NextHop",
    "Options",
    "Pool",
    "PoolID",
    "RequiresMACAddress",
    "RequiresRequestReplay",
    "RouteType",
    "Scope",
    "SkipIPv4",
    "SkipIPv6",
    "SrcName",
    "StaticRoutes",
    "Value",
    "AddressSpace",
    "AuxAddresses",
    "Addr",
    "Capabilities",
    "CreatedAt",
    "Mountpoint",
    "Name",
    "Status",
    "Volume",
    "Volumes",
];

/// Objects below these have names of their own.
const FREE: [&str; 5] = ["Data", "Options", "Value", "AuxAddresses", "Status"];

/// Reads the first JSON object of a body.
///
/// # Errors
/// With what is wrong with it.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let object = object(body)?;
    serde_json::from_value(Value::Object(object)).map_err(|error| error.to_string())
}

/// The same without knowing what is in it.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, String> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    match values.next() {
        None => Err("it is empty".to_owned()),
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(Value::Object(object))) => Ok(canonical(object)),
        Some(Ok(_)) => Err("it is not an object".to_owned()),
    }
}

/// The refusal in a reply, if it is one.
pub(crate) fn refusal(object: &Map<String, Value>) -> Option<String> {
    let texts = ["Err", "Error"].into_iter().filter_map(|name| object.get(name));
    let mut texts = texts.filter_map(Value::as_str);
    texts.find(|text| !text.is_empty()).map(str::to_owned)
}

fn canonical(object: Map<String, Value>) -> Map<String, Value> {
    object
        .into_iter()
        .map(|(name, value)| match known(&name) {
            Some(known) if FREE.contains(&known) => (known.to_owned(), value),
            Some(known) => (known.to_owned(), inside(value)),
            None => (name, value),
        })
        .collect()
}

fn inside(value: Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(canonical(object)),
        Value::Array(values) => Value::Array(values.into_iter().map(inside).collect()),
        other => other,
    }
}

fn known(name: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{activation::Activation, ipam_driver, network_driver as net};

    #[test]
    fn replies_are_read_as_go_reads_them() {
        let rows: [(&str, &str, &str); 6] = [
            ("as it should be", r#"{"Scope":"local","Err":""}"#, "local"),
            ("in other letters", r#"{"scope":"global"}"#, "global"),
            ("null", r#"{"Scope":null,"Err":null}"#, ""),
            (
                "more than was asked",
                r#"{"Scope":"local","Colour":{"Red":[1]}}"#,
                "local",
            ),
            ("twice", r#"{"Scope":"local","Scope":"global"}"#, "global"),
            (
                "two answers",
                "{\"Scope\":\"local\"}\n{\"Scope\":\"global\"}",
                "local",
            ),
        ];
        for (name, body, scope) in rows {
            let reply: net::Capabilities = decode(body.as_bytes()).expect(name);
            assert_eq!(reply.scope, scope, "{name}");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused_with_a_reason() {
        let deep = "[".repeat(100_000);
        for body in [
            "",
            " ",
            "null",
            "[]",
            "7",
            "{",
            "<html>",
            "{\"Scope\":7}",
            deep.as_str(),
        ] {
            let reply = decode::<net::Capabilities>(body.as_bytes());
            assert!(
                reply.is_err_and(|reason| !reason.is_empty()),
                "{}",
                &body[..body.len().min(20)]
            );
        }
    }

    #[test]
    fn names_in_maps_of_the_users_are_left_alone() {
        let body = br#"{"POOLID":"p","pool":"10.0.0.0/8","data":{"scope":"x","com.docker.network.gateway":"10.0.0.1/8"}}"#;
        let reply: ipam_driver::PoolGranted = decode(body).unwrap();
        assert_eq!((reply.pool_id.as_str(), reply.pool.as_str()), ("p", "10.0.0.0/8"));
        assert_eq!(reply.data["scope"], "x");
    }

    #[test]
    fn a_refusal_is_an_err_or_an_error_that_is_not_empty() {
        let rows = [
            (r#"{"Err":"no"}"#, Some("no")),
            (r#"{"error":"no"}"#, Some("no")),
            (r#"{"Err":"","Error":"no"}"#, Some("no")),
            (r#"{"Err":""}"#, None),
            (r#"{"Err":{}}"#, None),
            ("{}", None),
        ];
        for (body, wanted) in rows {
            let object = object(body.as_bytes()).unwrap();
            assert_eq!(refusal(&object).as_deref(), wanted, "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..512)) {
            read_as_everything(&body);
        }

        #[test]
        fn no_bent_reply_makes_a_reader_panic(
            which in 0..CORPUS.len(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()
        ) {
            let mut body = CORPUS[which].as_bytes().to_vec();
            let at = at.index(body.len());
            if cut { body.truncate(at) } else { body[at] = byte }
            read_as_everything(&body);
        }
    }

    const CORPUS: [&str; 5] = [
        r#"{"Implements":["NetworkDriver","IpamDriver"]}"#,
        r#"{"Interface":{"Address":"10.0.0.2/24","AddressIPv6":"","MacAddress":"02:42:0a:00:00:02"}}"#,
        r#"{"InterfaceName":{"SrcName":"a","DstPrefix":"eth"},"Gateway":"10.0.0.1","StaticRoutes":[{"Destination":
           "10.1.0.0/16","RouteType":1,"NextHop":""}],"DisableGatewayService":true}"#,
        r#"{"PoolID":"x","Pool":"10.0.0.0/24","Data":{"com.docker.network.gateway":"10.0.0.1/24"},"Error":""}"#,
        r#"{"Value":{"a":{"b":[1,2,null]}},"Err":"x"}"#,
    ];

    fn read_as_everything(body: &[u8]) {
        drop(decode::<Activation>(body));
        drop(decode::<net::Capabilities>(body));
        drop(decode::<net::CreatedEndpoint>(body));
        drop(decode::<net::OperInfo>(body));
        drop(decode::<net::Joined>(body));
        drop(decode::<ipam_driver::AddressSpaces>(body));
        drop(decode::<ipam_driver::PoolGranted>(body));
        drop(decode::<ipam_driver::AddressGranted>(body));
    }
}
