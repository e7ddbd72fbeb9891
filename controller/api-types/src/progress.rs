//! The stream of messages that a long task answers with, one JSON object on a line.

use crate::shape::shape;

shape! {
    /// One message. What does not apply is left out.
    Progress {
        /// Text as a program would print it.
        #[serde(rename = "stream", skip_serializing_if = "String::is_empty")]
        stream: String,
        /// What is being done.
        #[serde(rename = "status", skip_serializing_if = "String::is_empty")]
        status: String,
        /// How far it has come.
        #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
        progress_detail: Option<ProgressDetail>,
        /// How far it has come, drawn.
        #[serde(rename = "progress", skip_serializing_if = "String::is_empty")]
        progress: String,
        /// What it is about.
        #[serde(rename = "id", skip_serializing_if = "String::is_empty")]
        id: String,
        /// Why it failed: the last message.
        #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
        error_detail: Option<ErrorDetail>,
        /// The same in one line.
        #[serde(rename = "error", skip_serializing_if = "String::is_empty")]
        error: String,
    }
}

shape! {
    /// How far a task has come.
    ProgressDetail {
        /// Bytes done.
        #[serde(rename = "current", skip_serializing_if = "crate::shape::is_zero")]
        current: i64,
        /// Bytes in all.
        #[serde(rename = "total", skip_serializing_if = "crate::shape::is_zero")]
        total: i64,
    }
}

shape! {
    /// Why a task failed.
    ErrorDetail {
        /// A status code, or 0.
        #[serde(rename = "code", skip_serializing_if = "crate::shape::is_zero")]
        code: i64,
        /// For people.
        #[serde(rename = "message")]
        message: String,
    }
}
