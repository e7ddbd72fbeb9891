//! The ways in which a good reply can be bent.

use serde_json::{Map, Value, json};

/// What a bent reply comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The same as the good one.
    Same,
    /// An error that calls it nonsense.
    Nonsense,
    /// One or the other, or another reply: it ends, and nothing breaks.
    Whatever,
}

type Bend = (String, Vec<u8>, Expected);

/// All bends of a good reply, which is an object.
pub(crate) fn bends(good: &[u8]) -> Vec<Bend> {
    let value: Value = serde_json::from_slice(good).expect("a good reply");
    let Value::Object(object) = &value else {
        panic!("a good reply is an object");
    };
    let good = value.to_string().into_bytes();
    let mut all = whole(&good);
    all.extend(written_otherwise(&good, object));
    let mut paths = Vec::new();
    leaves(&value, &mut Vec::new(), &mut paths);
    for path in paths {
        for (name, other) in others() {
            let mut bent = value.clone();
            *bent.pointer_mut(&path).expect("a path of its own") = other;
            all.push((
                format!("{path} is {name}"),
                bent.to_string().into_bytes(),
                Expected::Whatever,
            ));
        }
    }
    all
}

/// The reply as a whole.
fn whole(good: &[u8]) -> Vec<Bend> {
    let middle = good.len() / 2;
    let with = |at: usize, bytes: &[u8]| [&good[..at], bytes, &good[at..]].concat();
    let rows: [(&str, Vec<u8>); 17] = [
        ("nothing", Vec::new()),
        ("blanks", b" \r\n\t ".to_vec()),
        ("null", b"null".to_vec()),
        ("a list", b"[]".to_vec()),
        ("itself in a list", [b"[", good, b"]"].concat()),
        ("a number", b"7".to_vec()),
        ("a text", b"\"x\"".to_vec()),
        ("cut", good[..middle].to_vec()),
        ("cut at its end", good[..good.len() - 1].to_vec()),
        ("a NUL byte before it", with(0, b"\0")),
        ("a NUL byte after its brace", with(1, b"\0")),
        ("a byte that is no UTF-8", with(2, b"\xff")),
        ("half a letter", with(2, b"\xe2\x82")),
        ("a comment", with(0, b"// fine\n")),
        ("a comma too many", with(good.len() - 1, b",")),
        ("too long", vec![b' '; 80 * 1024]),
        ("very deep", b"[".repeat(30_000)),
    ];
    let rows = rows.into_iter();
    rows.map(|(name, body)| (name.to_owned(), body, Expected::Nonsense))
        .collect()
}

/// The same reply in other words, and with more.
fn written_otherwise(good: &[u8], object: &Map<String, Value>) -> Vec<Bend> {
    let with = |more: &str| {
        let comma = if object.is_empty() { "" } else { "," };
        let end = format!("{comma}{more}}}");
        [&good[..good.len() - 1], end.as_bytes()].concat()
    };
    let lower = |name: &str| name.to_lowercase();
    let letters: Map<_, _> = object
        .iter()
        .map(|(name, value)| (lower(name), value.clone()))
        .collect();
    let twice = {
        let first = object.keys().map(|name| format!("{}:{{\"x\":7}},", json!(name)));
        [b"{", first.collect::<String>().as_bytes(), &good[1..]].concat()
    };
    let nulls: Map<_, _> = object.keys().map(|name| (name.clone(), Value::Null)).collect();
    let deep = |depth: usize| format!("\"more\":{}{}", "[".repeat(depth), "]".repeat(depth));
    let long = format!("\"more\":\"{}\"", "x".repeat(80 * 1024));
    let many: Vec<String> = (0..2000)
        .map(|number| format!("\"more{number}\":{number}"))
        .collect();
    let (same, nonsense, whatever) = (Expected::Same, Expected::Nonsense, Expected::Whatever);
    let rows: [(&str, Vec<u8>, Expected); 15] = [
        (
            "in lower case",
            Value::Object(letters).to_string().into_bytes(),
            same,
        ),
        ("every name twice", twice, same),
        ("with more", with("\"more\":{\"Address\":7}"), same),
        ("with much more", with(&many.join(",")), same),
        ("deep, but not too deep", with(&deep(100)), same),
        ("with a NUL in something else", with("\"more\":\"\\u0000\""), same),
        ("twice", [good, good].concat(), same),
        ("with something after it", [good, b"\n<html>"].concat(), same),
        ("with blanks before it", [b"\r\n \t", good].concat(), same),
        (
            "all null",
            Value::Object(nulls).to_string().into_bytes(),
            whatever,
        ),
        ("empty", b"{}".to_vec(), whatever),
        (
            "with a refusal of the wrong type",
            with("\"Err\":{\"x\":7}"),
            whatever,
        ),
        ("deeper than can be read", with(&deep(20_000)), nonsense),
        ("with half a surrogate", with("\"more\":\"\\ud800\""), nonsense),
        ("with a text that is too long", with(&long), nonsense),
    ];
    let rows = rows.into_iter();
    rows.map(|(name, body, expected)| (name.to_owned(), body, expected))
        .collect()
}

/// Paths of all values that are no objects, and of all objects too.
fn leaves(value: &Value, here: &mut Vec<String>, paths: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(object) => object
            .iter()
            .map(|(name, child)| (name.replace('~', "~0").replace('/', "~1"), child))
            .collect(),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .map(|(at, child)| (at.to_string(), child))
            .collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        here.push(name);
        paths.push(format!("/{}", here.join("/")));
        leaves(child, here, paths);
        here.pop();
    }
}

/// What a value can be instead.
fn others() -> Vec<(&'static str, Value)> {
    let deep = (0..50).fold(Value::Null, |inside, _| json!([inside]));
    vec![
        ("null", Value::Null),
        ("true", json!(true)),
        ("a number", json!(7)),
        ("a large number", json!(u64::MAX)),
        ("a fraction", json!(-0.5)),
        ("an empty text", json!("")),
        ("a NUL", json!("\0")),
        ("a text with a NUL", json!("10.0.0.1\0")),
        ("no address", json!("999.0.0.1/99")),
        ("a path", json!("../../etc/passwd")),
        ("a line of control letters", json!("\u{1b}[2J\r\n\u{7}")),
        ("a long text", json!("x".repeat(30_000))),
        ("a list", json!([])),
        ("a list of everything", json!([null, true, 7, "x", {}, []])),
        ("a long list", json!(vec![json!({}); 2000])),
        ("an object", json!({})),
        (
            "an object of everything",
            json!({"": null, "a": true, "b": 7, "c": "x", "d": {}, "e": []}),
        ),
        ("deep", deep),
    ]
}
