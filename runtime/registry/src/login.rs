//! Logging in: the question, the challenge, the answer.

use std::net::IpAddr;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{Method, StatusCode, Uri, header};
use serde::Deserialize;

use crate::{
    challenge::{self, Challenge},
    error::{Error, Result},
    exchange::{Answer, Question, addresses, ask},
    places::{Insecure, is_insecure},
};

/// Where images without a host in their name are, and who answers for it.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
/// As whom token services know clients of this kind.
const CLIENT: &str = "docker";

/// Who wants to log in, and where.
#[derive(Debug, Clone, Default)]
pub struct Login {
    /// `HOST`, `HOST:PORT` or a URL of it; empty for Docker Hub.
    pub server: String,
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
    /// What an earlier login gave instead of a password.
    pub identity_token: String,
}

/// Asks a registry whether somebody may log in. What it gives to be used instead of the password, if anything.
///
/// # Errors
/// When it doesn't take who asks, or can't be asked.
pub async fn login(login: &Login, insecure: &[Insecure]) -> Result<String> {
    let host = host(&login.server)?;
    let secure: Uri = url("https", &host)?;
    let found: Vec<IpAddr> = addresses(&secure)
        .await
        .iter()
        .map(|address| address.ip())
        .collect();
    let anybody = is_insecure(&host, &found, insecure);
    let first = at(&secure, login, anybody).await;
    match first {
        // Somebody who was refused is not told to the whole network.
        Err(Error::Failed(reason)) if anybody => {
            tracing::info!(registry = host, reason, "no login by TLS: trying without");
            at(&url("http", &host)?, login, anybody).await
        }
        other => other,
    }
}

/// The registry that an address names.
fn host(server: &str) -> Result<String> {
    let bare = server
        .strip_prefix("https://")
        .or_else(|| server.strip_prefix("http://"))
        .unwrap_or(server);
    let authority = bare.split(['/', '?', '#']).next().unwrap_or_default();
    // A name and a password in front of it are not the ones that count.
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = host.rsplit_once(':').map(|(_, port)| port);
    if let Some(port) = port.filter(|port| !port.ends_with(']') && port.parse::<u16>().is_err()) {
        return Err(Error::Address(format!(
            "unable to parse server address: parse {host:?}: invalid port {port:?} after host"
        )));
    }
    match host {
        "" if server.is_empty() => Ok(HUB[2].to_owned()),
        host if HUB.contains(&host) => Ok(HUB[2].to_owned()),
        "" => Err(Error::Failed(
            "Get \"https:/v2/\": http: no Host in request URL".to_owned(),
        )),
        host => Ok(host.to_owned()),
    }
}

fn url(scheme: &str, host: &str) -> Result<Uri> {
    let parsed = format!("{scheme}://{host}/v2/").parse::<Uri>();
    parsed.map_err(|error| Error::Address(format!("unable to parse server address {host:?}: {error}")))
}

/// Logs in at one URL.
async fn at(url: &Uri, login: &Login, anybody: bool) -> Result<String> {
    let get = |reason: String| Error::Failed(format!("Get \"{url}\": {reason}"));
    let first = ask(Question::get(url.clone()), anybody).await.map_err(get)?;
    let challenges = challenges(&first);
    let of = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
    let mut given = String::new();
    let authorization = if let Some(bearer) = of("bearer") {
        let tokens = tokens(url, bearer, login, anybody).await?;
        given = tokens.refresh_token;
        Some(format!("Bearer {}", tokens.token))
    } else if of("basic").is_some() {
        if login.username.is_empty() || login.password.is_empty() {
            return Err(get("no basic auth credentials".to_owned()));
        }
        Some(basic(login))
    } else {
        None
    };
    let question = Question {
        authorization,
        ..Question::get(url.clone())
    };
    let answer = ask(question, anybody).await.map_err(get)?;
    match answer.status {
        StatusCode::OK => Ok(given),
        status => Err(Error::Failed(format!(
            "login attempt to {url} failed with status: {}",
            line(status)
        ))),
    }
}

fn line(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or_default();
    format!("{} {reason}", status.as_u16())
}

fn challenges(answer: &Answer) -> Vec<Challenge> {
    let headers = answer.headers.get_all(header::WWW_AUTHENTICATE).iter();
    match answer.status {
        StatusCode::UNAUTHORIZED => headers
            .filter_map(|value| challenge::parse(value.to_str().ok()?))
            .collect(),
        _ => Vec::new(),
    }
}

fn basic(login: &Login) -> String {
    let pair = format!("{}:{}", login.username, login.password);
    format!("Basic {}", BASE64_STANDARD.encode(pair))
}

/// What a token service gives.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tokens {
    #[serde(alias = "access_token")]
    token: String,
    refresh_token: String,
}

/// Changes name and password, or what an earlier login gave, for a token.
async fn tokens(url: &Uri, bearer: &Challenge, login: &Login, anybody: bool) -> Result<Tokens> {
    let failed = |reason: &str| Error::Failed(format!("Get \"{url}\": {reason}"));
    let realm = bearer
        .parameters
        .get("realm")
        .map(String::as_str)
        .unwrap_or_default();
    let realm: Uri = realm
        .parse()
        .map_err(|_| failed("no realm specified for token auth challenge"))?;
    let mut anybody = anybody;
    match realm.scheme_str() {
        Some("https") => {
            // The certificate of a service elsewhere is looked at, whatever the registry's is worth.
            anybody &= realm.host() == url.host();
        }
        // A password doesn't leave this host in the clear because a registry says so.
        Some("http") if anybody => {}
        Some("http") => {
            return Err(failed(
                "the token service would be sent the password without encryption",
            ));
        }
        _ => return Err(failed("no realm specified for token auth challenge")),
    }
    let question = token_question(realm, bearer, login).map_err(|reason| failed(&reason))?;
    let asked = question.url.clone();
    let answer = ask(question, anybody)
        .await
        .map_err(|reason| failed(&format!("Get \"{asked}\": {reason}")))?;
    if !answer.status.is_success() {
        return Err(refusal(url, &answer));
    }
    let tokens: Tokens = serde_json::from_slice(&answer.body)
        .map_err(|error| failed(&format!("unable to decode token response: {error}")))?;
    match tokens.token.is_empty() {
        true => Err(failed(
            "authorization server did not include a token in the response",
        )),
        false => Ok(tokens),
    }
}

fn token_question(realm: Uri, bearer: &Challenge, login: &Login) -> std::result::Result<Question, String> {
    let service = bearer
        .parameters
        .get("service")
        .map(String::as_str)
        .unwrap_or_default();
    let scope = bearer
        .parameters
        .get("scope")
        .map(String::as_str)
        .unwrap_or_default();
    if !login.identity_token.is_empty() {
        let form = [
            ("client_id", CLIENT),
            ("grant_type", "refresh_token"),
            ("refresh_token", &login.identity_token),
            ("scope", scope),
            ("service", service),
        ];
        return Ok(Question {
            method: Method::POST,
            url: realm,
            authorization: None,
            form: Some(encoded(&form)),
        });
    }
    let mut query = vec![
        ("client_id", CLIENT),
        ("offline_token", "true"),
        ("service", service),
    ];
    if !login.username.is_empty() {
        query.insert(0, ("account", &login.username));
    }
    if !scope.is_empty() {
        query.push(("scope", scope));
    }
    let joint = if realm.query().is_some() { '&' } else { '?' };
    let url = format!("{realm}{joint}{}", encoded(&query));
    Ok(Question {
        authorization: (!login.username.is_empty()).then(|| basic(login)),
        ..Question::get(url.parse().map_err(|error| format!("{error}"))?)
    })
}

/// `key=value` joined by `&`, without those that have no value.
fn encoded(pairs: &[(&str, &str)]) -> String {
    let escaped = |text: &str| {
        text.bytes().fold(String::new(), |mut escaped, byte| {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                escaped.push(char::from(byte));
            } else {
                escaped.push_str(&format!("%{byte:02X}"));
            }
            escaped
        })
    };
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    given
        .map(|(key, value)| format!("{key}={}", escaped(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// What registries and token services say of an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    errors: Vec<OneError>,
    details: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OneError {
    code: String,
    message: String,
}

fn refusal(url: &Uri, answer: &Answer) -> Error {
    let kind = answer
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let is_json = kind.is_some_and(|kind| kind.starts_with("application/json"));
    let said = Some(&answer.body)
        .filter(|_| is_json)
        .and_then(|body| serde_json::from_slice(body).ok());
    let said: Said = said.unwrap_or_default();
    let plain = String::from_utf8_lossy(&answer.body);
    let unauthorized = answer.status == StatusCode::UNAUTHORIZED;
    let reason = match &said.errors[..] {
        [first, ..] => {
            let code = first.code.to_lowercase().replace('_', " ");
            format!("{code}: {}", first.message)
        }
        [] if unauthorized && !said.details.is_empty() => format!("unauthorized: {}", said.details),
        [] if unauthorized && !is_json && !plain.is_empty() => format!("unauthorized: {plain}"),
        [] if unauthorized => "unauthorized: authentication required".to_owned(),
        [] => format!("received unexpected HTTP status: {}", line(answer.status)),
    };
    let text = format!("Get \"{url}\": {reason}");
    match unauthorized {
        true => Error::Unauthorized(text),
        false => Error::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_registry_is_named_in_many_ways() {
        for (server, wanted) in [
            ("", "registry-1.docker.io"),
            ("https://index.docker.io/v1/", "registry-1.docker.io"),
            ("docker.io", "registry-1.docker.io"),
            ("localhost:5000", "localhost:5000"),
            ("http://reg.lan:80/v2/?x", "reg.lan:80"),
            ("https://ann:secret@reg.lan/", "reg.lan"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(host(server).expect(server), wanted);
        }
        for wrong in ["https:///x", "localhost:abc", "localhost:99999", "localhost:"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
        assert!(url("https", "a b").is_err());
    }

    #[test]
    fn a_token_service_is_asked_for_the_user_and_told_what_an_earlier_login_gave() {
        let bearer = Challenge {
            scheme: "bearer".into(),
            parameters: BTreeMap::from([("service".into(), "the registry".into())]),
        };
        let mut somebody = Login {
            username: "ann@lan".into(),
            password: "secret".into(),
            ..Login::default()
        };
        let realm: Uri = "https://auth.lan/token?a=b".parse().expect("a URL");
        let asked = token_question(realm.clone(), &bearer, &somebody).expect("a question");
        assert_eq!(
            asked.url.to_string(),
            "https://auth.lan/token?a=b&account=ann%40lan&client_id=docker&offline_token=true&service=the%20registry"
        );
        assert_eq!(asked.authorization.as_deref(), Some("Basic YW5uQGxhbjpzZWNyZXQ="));
        somebody.identity_token = "kept".into();
        let asked = token_question(realm, &bearer, &somebody).expect("a question");
        assert_eq!((asked.method, asked.authorization), (Method::POST, None));
        assert_eq!(
            asked.form.as_deref(),
            Some("client_id=docker&grant_type=refresh_token&refresh_token=kept&service=the%20registry")
        );
    }

    #[test]
    fn what_a_service_says_is_told() {
        let url: Uri = "https://r/v2/".parse().expect("a URL");
        for (status, body, wanted) in [
            (
                401,
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#,
                "Get \"https://r/v2/\": unauthorized: incorrect username or password",
            ),
            (
                401,
                r#"{"details":"incorrect username or password"}"#,
                "Get \"https://r/v2/\": unauthorized: incorrect username or password",
            ),
            (
                401,
                "{}",
                "Get \"https://r/v2/\": unauthorized: authentication required",
            ),
            (
                500,
                "",
                "Get \"https://r/v2/\": received unexpected HTTP status: 500 Internal Server Error",
            ),
        ] {
            let answer = Answer {
                status: StatusCode::from_u16(status).expect("a status"),
                headers: [(
                    header::CONTENT_TYPE,
                    http::HeaderValue::from_static("application/json"),
                )]
                .into_iter()
                .collect(),
                body: body.into(),
            };
            let error = refusal(&url, &answer);
            assert_eq!(error.to_string(), wanted);
            assert_eq!(matches!(error, Error::Unauthorized(_)), status == 401);
        }
    }
}
