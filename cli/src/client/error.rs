//! What can go wrong between a command and the daemon.

use std::io::ErrorKind;

use http::StatusCode;

use crate::host::Host;

/// Why a request got no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody answers there, or not whom we take for the daemon.
    #[error("can't connect to the daemon at {host}: {source}")]
    Connect {
        /// Where.
        host: Host,
        /// Why not.
        source: std::io::Error,
    },
    /// The daemon said no.
    #[error("Error response from daemon: {}", parts(message).0)]
    Refused {
        /// How.
        status: StatusCode,
        /// And why.
        message: String,
    },
    /// The connection broke, or it wasn't HTTP.
    #[error("the connection to the daemon failed: {}", whole(.0))]
    Http(#[source] hyper::Error),
    /// The same, with TLS and without a certificate of ours.
    #[error("the connection to the daemon failed: {}", whole(.0))]
    Nameless(#[source] hyper::Error),
    /// The same on a port without TLS.
    #[error("the connection to the daemon failed: {}", whole(.0))]
    Plain(#[source] hyper::Error),
    /// The answer is no JSON of the expected shape.
    #[error("can't read the daemon's answer: {0}")]
    Answer(#[source] serde_json::Error),
    /// A task that answers with a stream failed half way.
    #[error("{0}")]
    Task(String),
    /// A name can't be put into a request.
    #[error("can't make a request of it: {0}")]
    Request(#[source] http::Error),
    /// Something can't be written as JSON.
    #[error("can't encode the request: {0}")]
    Encode(#[source] serde_json::Error),
    /// The daemon did not hand over the connection.
    #[error("the daemon did not open a stream (status {0})")]
    NoStream(StatusCode),
    /// Reading or writing a stream failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What failed, to the bottom of it: that is where it says what TLS didn't like.
fn whole(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

/// A daemon of ours puts its hint behind the message: `it is in use (hint: disconnect x first)`.
fn parts(message: &str) -> (&str, Option<&str>) {
    match message
        .rsplit_once(" (hint: ")
        .and_then(|(said, hint)| Some((said, hint.strip_suffix(')')?)))
    {
        Some((said, hint)) => (said, Some(hint)),
        None => (message, None),
    }
}

impl ClientError {
    /// What the user may try.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Some("the socket belongs to the group cnm: be root, or a member of it (usermod -aG cnm USER, then log in again)".into())
            }
            Self::Nameless(_) => Some(
                "does the daemon want a certificate of yours? --tlscert and --tlskey, or cert.pem and key.pem in ~/.docker"
                    .into(),
            ),
            Self::Plain(_) => Some(
                "if the daemon listens with TLS, say --tlsverify (or DOCKER_TLS_VERIFY=1), with --tlscacert, --tlscert \
                 and --tlskey or these files in ~/.docker"
                    .into(),
            ),
            Self::Connect {
                host: Host::Tcp(..), ..
            } => Some("does the daemon listen there, and do the certificates belong to it and to you?".into()),
            Self::Connect { .. } => {
                Some("is the daemon running? start it with: systemctl start cnmd, or as root: cnmd".into())
            }
            Self::Refused { message, .. } => parts(message).1.map(ToOwned::to_owned),

            _ => None,
        }
    }

    /// Whether the daemon said that there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    /// The daemon's answer, if it gave one.
    pub(crate) fn refusal(&self) -> Option<(StatusCode, &str)> {
        match self {
            Self::Refused { status, message } => Some((*status, message)),
            _ => None,
        }
    }
}
