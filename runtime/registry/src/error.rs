//! Why nobody logged in. The words are Docker's, since scripts match them.

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("{0}")]
    Address(String),
    /// The registry doesn't take these credentials.
    #[error("{0}")]
    Unauthorized(String),
    /// The registry did not answer, or not as registries do.
    #[error("{0}")]
    Failed(String),
}

/// The result of asking a registry.
pub type Result<T> = std::result::Result<T, Error>;
