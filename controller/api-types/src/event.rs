//! What happened, as `GET /events` streams it.

use crate::shape::{Map, shape};

shape! {
    /// One event. The first three fields are from before API 1.22 and are there for containers and images only.
    EventMessage {
        /// The same as `Action`.
        #[serde(rename = "status", skip_serializing_if = "String::is_empty")]
        status: String,
        /// The same as `Actor.ID`.
        #[serde(rename = "id", skip_serializing_if = "String::is_empty")]
        id: String,
        /// The image of a container.
        #[serde(rename = "from", skip_serializing_if = "String::is_empty")]
        from: String,
        /// `container`, `image`, `network`, `volume` or `daemon`.
        r#type: String,
        /// What happened to it.
        action: String,
        /// To whom it happened.
        actor: Actor,
        /// `local` or `global`.
        #[serde(rename = "scope")]
        scope: String,
        /// Seconds since 1970.
        #[serde(rename = "time")]
        time: i64,
        /// Nanoseconds since 1970.
        #[serde(rename = "timeNano")]
        time_nano: i64,
    }
}

shape! {
    /// To whom something happened.
    Actor {
        /// Its id; for images the name they were asked by.
        #[serde(rename = "ID")]
        id: String,
        /// Name, image, labels, exit status and so on.
        attributes: Map<String>,
    }
}
