//! What templates work on.
//!
//! Go's templates see typed data, and two things depend on the type: what a missing map key gives, and whether a
//! name that isn't there is an error. So a `Map` knows its elements' zero value, and a `Record` is a struct.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

/// A value in a template.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// No value at all; prints `<no value>`.
    Missing,
    /// A pointer to nothing; prints `<nil>`.
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(Map),
    Record(Rc<dyn Record>),
}

/// A map with string keys.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    pub(crate) entries: BTreeMap<String, Value>,
    pub(crate) element: Element,
    /// There is no map at all; only `json` can tell.
    pub(crate) null: bool,
}

/// What kind of thing a map holds, which decides what a missing key gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Text,
    List,
    Pointer,
    Any,
    /// Decoded without knowing its type: a missing key is an error.
    Strict,
}

/// A struct: a fixed set of fields, and methods with arguments.
pub(crate) trait Record: fmt::Debug {
    /// The type's name, for errors.
    fn kind(&self) -> String;
    /// The field or method of this name.
    fn get(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>>;
    /// All fields in order, for printing and `json`.
    fn fields(&self) -> Vec<(String, Value)>;
    /// What to say of a name that is none of them.
    fn unknown(&self, name: &str) -> String {
        format!("can't evaluate field {name} in type {}", self.kind())
    }
}

impl Map {
    /// A map.
    pub(crate) fn new(entries: BTreeMap<String, Value>, element: Element) -> Self {
        Self {
            entries,
            element,
            null: false,
        }
    }

    /// No map.
    pub(crate) fn null(element: Element) -> Self {
        Self {
            entries: BTreeMap::new(),
            element,
            null: true,
        }
    }

    /// What `index` gives for a key that isn't there.
    pub(crate) fn zero(&self) -> Value {
        match self.element {
            Element::Text => Value::Text(String::new()),
            Element::List => Value::List(Vec::new()),
            Element::Pointer => Value::Nil,
            Element::Any | Element::Strict => Value::Missing,
        }
    }
}

impl Value {
    /// A text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Value::Text(text.into())
    }

    /// JSON of unknown type: objects become maps in which a missing key is an error.
    pub(crate) fn from_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Value::Missing,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(value) => Value::Int(value),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => Value::List(items.iter().map(Value::from_json).collect()),
            serde_json::Value::Object(entries) => Value::Map(Map::new(
                entries
                    .iter()
                    .map(|(key, value)| (key.clone(), Value::from_json(value)))
                    .collect(),
                Element::Strict,
            )),
        }
    }

    /// As JSON, for `json`. Maps come sorted, records in the order of their fields.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Missing | Value::Nil => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Value::to_json).collect(),
            Value::Map(map) if map.null => serde_json::Value::Null,
            Value::Map(map) => map
                .entries
                .iter()
                .map(|(key, value)| (key.clone(), value.to_json()))
                .collect(),
            Value::Record(record) => record
                .fields()
                .into_iter()
                .map(|(key, value)| (key, value.to_json()))
                .collect(),
        }
    }

    /// Whether `if` takes it for true: anything but the zero value or an empty collection.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Value::Missing | Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Map(map) => !map.entries.is_empty(),
            Value::Record(_) => true,
        }
    }

    /// The name of its type, for errors.
    pub(crate) fn type_name(&self) -> String {
        match self {
            Value::Missing => "<nil>".into(),
            Value::Nil => "pointer".into(),
            Value::Bool(_) => "bool".into(),
            Value::Int(_) => "int".into(),
            Value::Float(_) => "float64".into(),
            Value::Text(_) => "string".into(),
            Value::List(_) => "slice".into(),
            Value::Map(_) => "map".into(),
            Value::Record(record) => record.kind(),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}
