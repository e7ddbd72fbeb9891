//! `POST /auth`: whether a registry lets somebody in.

use std::sync::Arc;

use api_types::{AuthConfig, AuthStatus};
use axum::{Json, extract::State, http::StatusCode};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use engine::{Engine, Login, LoginError};

use crate::{
    body::JsonBody,
    status::{Answer, Refusal},
};

pub(crate) async fn login(
    State(engine): State<Arc<Engine>>,
    JsonBody(asked): JsonBody<AuthConfig>,
) -> Answer<Json<AuthStatus>> {
    let identity_token = engine.login(&who(asked)).await?;
    Ok(Json(AuthStatus {
        status: "Login Succeeded".to_owned(),
        identity_token,
    }))
}

/// Some clients send user and password as their files have them.
fn who(asked: AuthConfig) -> Login {
    let mut login = Login {
        server: asked.server_address,
        username: asked.username,
        password: asked.password,
        identity_token: asked.identity_token,
    };
    let pair = BASE64_STANDARD.decode(asked.auth).unwrap_or_default();
    if login.username.is_empty()
        && let Some((user, password)) = std::str::from_utf8(&pair)
            .ok()
            .and_then(|pair| pair.split_once(':'))
    {
        login.username = user.to_owned();
        login.password = password.to_owned();
    }
    login
}

impl From<LoginError> for Refusal {
    fn from(error: LoginError) -> Self {
        let status = match error {
            LoginError::Address(_) => StatusCode::BAD_REQUEST,
            LoginError::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            LoginError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_may_come_as_files_have_them() {
        let asked = |username: &str, auth: &str| AuthConfig {
            username: username.into(),
            auth: auth.into(),
            ..AuthConfig::default()
        };
        for (username, auth, wanted) in [
            ("", "YW5uOnNlOmNyZXQ=", ("ann", "se:cret")),
            ("bob", "YW5uOnNlY3JldA==", ("bob", "")),
            ("", "not base64", ("", "")),
        ] {
            let login = who(asked(username, auth));
            assert_eq!(
                (login.username.as_str(), login.password.as_str()),
                wanted,
                "{auth}"
            );
        }
    }
}
