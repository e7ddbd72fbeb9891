//! What every refusal looks like.

use crate::shape::shape;

shape! {
    /// The body of every answer whose status is 400 or more.
    ErrorMessage {
        /// What went wrong, for people.
        #[serde(rename = "message")]
        message: String,
    }
}
