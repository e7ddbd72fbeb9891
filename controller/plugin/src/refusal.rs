//! What Docker's users get to read when something is refused: one line, with what to do about it.

use plugin_proto::server::Refusal;

/// Why a call is refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// By the networks.
    Controller(controller::Error),
    /// By what the store holds or does not answer.
    Store(store::Error),
    /// By what Docker asks for: what is wrong, and what to do about it.
    Request(String, String),
}

/// A `Result` with a refusal.
pub(crate) type Result<T> = std::result::Result<T, Refused>;

/// What is wrong with a request, and what to do about it.
pub(crate) fn refused(message: impl Into<String>, hint: impl Into<String>) -> Refused {
    Refused::Request(message.into(), hint.into())
}

impl From<controller::Error> for Refused {
    fn from(error: controller::Error) -> Self {
        Self::Controller(error)
    }
}

impl From<store::Error> for Refused {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Request(message, hint) => write!(f, "{message} ({hint})"),
            Self::Controller(error) => {
                chain(f, error)?;
                error.hint().map_or(Ok(()), |hint| write!(f, " ({hint})"))
            }
            Self::Store(error) => chain(f, error),
        }
    }
}

fn chain(f: &mut std::fmt::Formatter<'_>, error: &dyn std::error::Error) -> std::fmt::Result {
    write!(f, "{error}")?;
    let mut source = error.source();
    while let Some(error) = source {
        write!(f, ": {error}")?;
        source = error.source();
    }
    Ok(())
}

/// As it goes over the wire; and into the log, since Docker tells only who asked.
pub(crate) fn tell(method: &'static str, refused: &Refused) -> Refusal {
    tracing::info!(method, %refused, "refused");
    refused.to_string().into()
}
