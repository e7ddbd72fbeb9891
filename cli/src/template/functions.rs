//! The functions a template may call: Go's own and those that container tools add.

use super::print;
use super::value::Value;

/// Which set of functions a template runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Functions {
    /// On values.
    Values,
    /// On a table's headers, where what reshapes a value leaves the header as it is.
    Headers,
}

const NAMES: [&str; 26] = [
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "print", "printf",
    "println", "json", "join", "split", "upper", "lower", "title", "pad", "truncate", "html", "urlquery",
    "call",
];

/// Whether a function of this name exists.
pub(crate) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

type Result<T, E = String> = std::result::Result<T, E>;

impl Functions {
    /// Calls a function; the error is the whole message.
    pub(crate) fn call(self, name: &str, arguments: &[Value]) -> Result<Value> {
        if self == Functions::Headers && matches!(name, "json" | "join" | "split" | "truncate") {
            return Ok(arguments.first().cloned().unwrap_or(Value::Missing));
        }
        let (least, most) = arity(name);
        if arguments.len() < least || arguments.len() > most {
            let want = if most == usize::MAX {
                format!("at least {least}")
            } else {
                least.to_string()
            };
            return Err(format!(
                "wrong number of args for {name}: want {want} got {}",
                arguments.len()
            ));
        }
        apply(name, arguments).map_err(|message| format!("error calling {name}: {message}"))
    }
}

fn arity(name: &str) -> (usize, usize) {
    match name {
        "not" | "len" | "json" | "upper" | "lower" | "title" => (1, 1),
        "ne" | "lt" | "le" | "gt" | "ge" | "join" | "split" | "truncate" => (2, 2),
        "pad" => (3, 3),
        "eq" | "index" | "printf" | "slice" | "call" => (1, usize::MAX),
        _ => (0, usize::MAX),
    }
}

fn apply(name: &str, arguments: &[Value]) -> Result<Value> {
    match (name, arguments) {
        ("not", [value]) => Ok(Value::Bool(!value.is_true())),
        ("eq", [first, rest @ ..]) => equal_to_any(first, rest).map(Value::Bool),
        ("ne", [a, b]) => Ok(Value::Bool(!equal(a, b)?)),
        ("lt", [a, b]) => Ok(Value::Bool(less(a, b)?)),
        ("le", [a, b]) => Ok(Value::Bool(less(a, b)? || equal(a, b)?)),
        ("gt", [a, b]) => Ok(Value::Bool(!less(a, b)? && !equal(a, b)?)),
        ("ge", [a, b]) => Ok(Value::Bool(!less(a, b)?)),
        ("len", [value]) => length(value),
        ("index", [value, keys @ ..]) => keys
            .iter()
            .try_fold(value.clone(), |value, key| index(&value, key)),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("print", values) => Ok(Value::Text(print::print(values))),
        ("println", values) => Ok(Value::Text(print::println(values))),
        ("printf", [format, values @ ..]) => Ok(Value::Text(print::printf(&text(format)?, values))),
        ("json", [value]) => Ok(Value::Text(json(value)?)),
        ("join", [Value::List(items), separator]) => {
            let items: Vec<String> = items.iter().map(print::plain).collect();
            Ok(Value::Text(items.join(&text(separator)?)))
        }
        ("join", [Value::Missing | Value::Nil, _]) => Ok(Value::Text(String::new())),
        ("split", [value, separator]) => Ok(split(&text(value)?, &text(separator)?)),
        ("upper", [value]) => Ok(Value::Text(text(value)?.to_uppercase())),
        ("lower", [value]) => Ok(Value::Text(text(value)?.to_lowercase())),
        ("title", [value]) => Ok(Value::Text(title(&text(value)?))),
        ("pad", [value, before, after]) => pad(&text(value)?, before, after),
        ("truncate", [value, length]) => Ok(Value::Text(text(value)?.chars().take(count(length)?).collect())),
        ("html", values) => Ok(Value::Text(escape_html(&print::print(values)))),
        ("urlquery", values) => Ok(Value::Text(crate::client::query::escape(&print::print(values)))),
        ("call", _) => Err("call of a value that is no function".into()),
        (_, [first, ..]) => Err(format!(
            "wrong type for value; expected []string; got {}",
            first.type_name()
        )),
        (_, []) => Err("no arguments".into()),
    }
}

fn text(value: &Value) -> Result<String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        other => Err(format!(
            "wrong type for value; expected string; got {}",
            other.type_name()
        )),
    }
}

fn count(value: &Value) -> Result<usize> {
    match value {
        Value::Int(n) => Ok(usize::try_from(*n).unwrap_or(0)),
        other => Err(format!(
            "wrong type for value; expected int; got {}",
            other.type_name()
        )),
    }
}

fn json(value: &Value) -> Result<String> {
    serde_json::to_string(&value.to_json()).map_err(|error| error.to_string())
}

fn equal_to_any(first: &Value, rest: &[Value]) -> Result<bool> {
    if rest.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in rest {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(a: &Value, b: &Value) -> Result<bool> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a), Value::Int(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Text(a), Value::Text(b)) => Ok(a == b),
        (Value::Missing | Value::Nil, Value::Missing | Value::Nil) => Ok(true),
        (Value::Missing | Value::Nil, _) | (_, Value::Missing | Value::Nil) => Ok(false),
        (Value::List(_) | Value::Map(_), _) | (_, Value::List(_) | Value::Map(_)) => Err(format!(
            "non-comparable types {}, {}",
            a.type_name(),
            b.type_name()
        )),
        _ => Err("incompatible types for comparison".into()),
    }
}

fn less(a: &Value, b: &Value) -> Result<bool> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(a < b),
        (Value::Float(a), Value::Float(b)) => Ok(a < b),
        (Value::Text(a), Value::Text(b)) => Ok(a < b),
        (
            Value::Int(_) | Value::Float(_) | Value::Text(_),
            Value::Int(_) | Value::Float(_) | Value::Text(_),
        ) => Err("incompatible types for comparison".into()),
        _ => Err("invalid type for comparison".into()),
    }
}

fn length(value: &Value) -> Result<Value> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.entries.len(),
        Value::Missing | Value::Nil => return Err("len of nil pointer".into()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(value: &Value, key: &Value) -> Result<Value> {
    match (value, key) {
        (Value::List(items), Value::Int(at)) => usize::try_from(*at)
            .ok()
            .and_then(|at| items.get(at).cloned())
            .ok_or_else(|| out_of_range(*at, items.len())),
        (Value::Text(text), Value::Int(at)) => usize::try_from(*at)
            .ok()
            .and_then(|at| text.as_bytes().get(at))
            .map(|byte| Value::Int(i64::from(*byte)))
            .ok_or_else(|| out_of_range(*at, text.len())),
        (Value::List(_) | Value::Text(_), key) => {
            Err(format!("cannot index slice/array with type {}", key.type_name()))
        }
        (Value::Map(map), Value::Text(key)) => {
            Ok(map.entries.get(key).cloned().unwrap_or_else(|| map.zero()))
        }
        (Value::Map(_), key) => Err(format!("value has type {}; should be string", key.type_name())),
        (Value::Missing, _) => Err("index of untyped nil".into()),
        (Value::Nil, _) => Err("index of nil pointer".into()),
        (other, _) => Err(format!("can't index item of type {}", other.type_name())),
    }
}

fn out_of_range(at: i64, length: usize) -> String {
    if usize::try_from(at) == Ok(length) {
        return "reflect: slice index out of range".into();
    }
    format!("index out of range: {at}")
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Missing => return Err("slice of untyped nil".into()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Ok(default),
        Some(Value::Int(n)) => usize::try_from(*n)
            .ok()
            .filter(|n| *n <= length)
            .ok_or_else(|| format!("index out of range: {n}")),
        Some(other) => Err(format!(
            "cannot index slice/array with type {}",
            other.type_name()
        )),
    };
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match value {
        Value::List(items) => Ok(Value::List(items[from..to].to_vec())),
        // Bounds count bytes and may fall inside a character.
        other => Ok(Value::Text(
            String::from_utf8_lossy(&text(other)?.as_bytes()[from..to]).into_owned(),
        )),
    }
}

fn split(text: &str, separator: &str) -> Value {
    if separator.is_empty() {
        return Value::List(text.chars().map(|c| Value::Text(c.to_string())).collect());
    }
    Value::List(text.split(separator).map(Value::from).collect())
}

/// The first letter of each word in upper case.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut titled = String::with_capacity(text.len());
    for c in text.chars() {
        if inside {
            titled.push(c);
        } else {
            titled.extend(c.to_uppercase());
        }
        inside = c.is_alphanumeric() || matches!(c, '_' | '\'');
    }
    titled
}

fn pad(text: &str, before: &Value, after: &Value) -> Result<Value> {
    if text.is_empty() {
        return Ok(Value::Text(String::new()));
    }
    let (before, after) = (
        " ".repeat(count(before)?.min(PAD_LIMIT)),
        " ".repeat(count(after)?.min(PAD_LIMIT)),
    );
    Ok(Value::Text(format!("{before}{text}{after}")))
}

const PAD_LIMIT: usize = 10_000;

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
