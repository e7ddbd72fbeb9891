//! Logging in to a registry of images.

use crate::shape::shape;

shape! {
    /// `POST /auth`. Its keys are written small.
    AuthConfig {
        /// The user.
        #[serde(rename = "username")]
        username: String,
        /// The password.
        #[serde(rename = "password")]
        password: String,
        /// User and password, `USER:PASSWORD` in base64, in place of the two.
        #[serde(rename = "auth")]
        auth: String,
        /// The registry; empty for Docker Hub.
        #[serde(rename = "serveraddress")]
        server_address: String,
        /// What an earlier login gave in place of the password.
        #[serde(rename = "identitytoken")]
        identity_token: String,
    }
}

shape! {
    /// The answer to `POST /auth`.
    AuthStatus {
        /// What to use in place of the password; empty where there is nothing.
        identity_token: String,
        /// `Login Succeeded`.
        status: String,
    }
}
