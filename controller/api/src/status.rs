//! What failures become: a status, and `{"message": …}` with the hint behind it.

use api_types::ErrorMessage;
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use engine::{Error, NetworkError};

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
}

/// The result of a handler.
pub(crate) type Answer<T> = Result<T, Refusal>;

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if self.status == StatusCode::NOT_MODIFIED {
            return self.status.into_response();
        }
        (
            self.status,
            Json(ErrorMessage {
                message: self.message,
            }),
        )
            .into_response()
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = status_of(&error);
        if status != StatusCode::INTERNAL_SERVER_ERROR {
            return Self {
                status,
                message: with_hint(error.to_string(), error.hint()),
            };
        }
        let message = with_hint(chain(&error), error.hint());
        if !matches!(error, Error::Unpublished { .. }) {
            tracing::error!(error = message, "a request failed");
        }
        Self { status, message }
    }
}

impl From<NetworkError> for Refusal {
    fn from(error: NetworkError) -> Self {
        let status = network_status(&error);
        if status != StatusCode::INTERNAL_SERVER_ERROR {
            return Self {
                status,
                message: with_hint(error.to_string(), error.hint()),
            };
        }
        let message = with_hint(chain(&error), error.hint());
        tracing::error!(error = message, "a request failed");
        Self { status, message }
    }
}

/// What failed and why, to the bottom of it: there is no hint that would help more.
fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        // Some tell their source's words themselves.
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        next = source.source();
    }
    message
}

fn with_hint(message: String, hint: Option<String>) -> String {
    match hint {
        Some(hint) => format!("{message} (hint: {hint})"),
        None => message,
    }
}

fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::NotFound { .. } => StatusCode::NOT_FOUND,
        Error::Invalid { .. } | Error::Command { .. } => StatusCode::BAD_REQUEST,
        Error::Forbidden { .. } => StatusCode::FORBIDDEN,
        Error::Conflict { .. } => StatusCode::CONFLICT,
        Error::NotModified(_) => StatusCode::NOT_MODIFIED,
        Error::NotImplemented { .. } => StatusCode::NOT_IMPLEMENTED,
        Error::Network { source, .. } => network_status(source),
        Error::Unpublished { .. } | Error::Store(_) | Error::Internal { .. } => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

fn network_status(error: &NetworkError) -> StatusCode {
    match error.reason() {
        NetworkError::NotFound { .. } => StatusCode::NOT_FOUND,
        NetworkError::Invalid { .. } => StatusCode::BAD_REQUEST,
        NetworkError::Forbidden { .. } => StatusCode::FORBIDDEN,
        NetworkError::Conflict { .. } => StatusCode::CONFLICT,
        NetworkError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        NetworkError::Plugin { .. } | NetworkError::Internal { .. } | NetworkError::Undone { .. } => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_refuses_is_told_to_the_bottom() {
        let refused = || NetworkError::Internal {
            doing: "changing network \"lan\"".into(),
            source: "permission denied".into(),
        };
        let refusal = Refusal::from(refused());
        assert_eq!(refusal.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(refusal.message(), "changing network \"lan\": permission denied");
        let refusal = Refusal::from(Error::network("connecting")(refused()));
        assert_eq!(refusal.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(
            refusal.message(),
            "connecting: changing network \"lan\": permission denied"
        );
    }

    #[test]
    fn every_failure_has_its_status() {
        let unavailable = NetworkError::Unavailable {
            message: "the store".into(),
            hint: Some("wait".into()),
        };
        for (error, status, message) in [
            (
                Error::not_found("No such container: x"),
                404,
                "No such container: x",
            ),
            (Error::invalid("no").with_hint("yes"), 400, "no (hint: yes)"),
            (Error::forbidden("no"), 403, "no"),
            (
                Error::Unpublished {
                    doing: "starting".into(),
                    source: NetworkError::Conflict {
                        message: "port is already allocated".into(),
                        hint: None,
                    },
                },
                500,
                "starting: port is already allocated",
            ),
            (Error::conflict("no"), 409, "no"),
            (Error::NotModified("it runs".into()), 304, "it runs"),
            (Error::not_implemented("later"), 501, "later"),
            (
                Error::Command {
                    message: "not found".into(),
                    exit_code: 127,
                },
                400,
                "not found",
            ),
            (
                Error::network("connecting to network ol1")(unavailable),
                503,
                "connecting to network ol1: the store (hint: wait)",
            ),
        ] {
            let refusal = Refusal::from(error);
            assert_eq!((refusal.status().as_u16(), refusal.message()), (status, message));
        }
    }

    #[test]
    fn a_failed_undo_keeps_the_status_of_what_failed() {
        let forbidden = NetworkError::Forbidden {
            message: "in use".into(),
            hint: None,
        };
        let error = NetworkError::Undone {
            error: Box::new(forbidden),
            undo: vec!["releasing".into()],
        };
        assert_eq!(Refusal::from(error).status(), StatusCode::FORBIDDEN);
    }
}
