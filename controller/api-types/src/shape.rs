//! How a message reads and writes, said once for all of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// A JSON object with its members in key order, as Go writes its maps.
pub type Map<V> = BTreeMap<String, V>;

/// Go leaves a field at its zero value when the JSON says `null`.
pub(crate) fn null_is_zero<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Declares a message: fields in Go's spelling (`PascalCase` unless renamed), every one of them optional when
/// read, `null` being the zero value.
macro_rules! shape {
    ($(#[$meta:meta])* $name:ident { $($(#[$about:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name {
            $($(#[$about])* #[serde(deserialize_with = "crate::shape::null_is_zero")] pub $field: $type,)*
        }
    };
}
pub(crate) use shape;

/// For `skip_serializing_if` on numbers: Go's `omitempty`.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
