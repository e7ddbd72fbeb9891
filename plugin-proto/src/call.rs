//! What all calls have in common: a method, a request and the reply that belongs to it.

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Options as they are on the wire: values of any kind by name.
pub type Options = Map<String, Value>;

/// A request that knows its method and its reply.
pub trait Call: Serialize {
    /// `Subsystem.Method`, which is also the path.
    const METHOD: &'static str;
    /// How many times the usual time it may take: for what may have to wait for storage.
    const TIMES: u32 = 1;
    /// What a plugin answers when it does what was asked.
    type Reply: DeserializeOwned;

    /// The request's body: JSON and a newline, or nothing for a call without arguments.
    fn body(&self) -> Vec<u8> {
        match serde_json::to_vec(self) {
            Ok(body) if body == b"null" => Vec::new(),
            Ok(mut body) => {
                body.push(b'\n');
                body
            }
            // Texts, numbers and maps with texts as keys: there is nothing that JSON can't say.
            Err(_) => Vec::new(),
        }
    }
}

/// A reply that says no more than that it was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

/// Reads a null as the default, as Go does.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
