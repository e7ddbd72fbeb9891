//! `cnm version`

use std::process::ExitCode;
use std::rc::Rc;

use api_types::SystemVersion;
use clap::Args;

use super::{Context, say, show};
use crate::client::{Client, ClientError, Query};
use crate::error::{CommandError, Outcome};
use crate::template::{Functions, Record, Template, Value};

/// Show the versions of this program and of the daemon
#[derive(Debug, Args)]
pub(crate) struct Version {
    /// A Go template, or json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
}

impl Version {
    /// Shows them; without a daemon, our own, and an error.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.client()?;
        let server = ask(client).await;
        let api = client
            .version()
            .await
            .unwrap_or(api_types::API_VERSION)
            .to_owned();
        let (server, error) = match server {
            Ok(server) => (Some(server), None),
            Err(error) => (None, Some(CommandError::from(error))),
        };
        match self.format.as_deref().map(str::trim) {
            None | Some("") => show(&text(&api, server.as_ref()))?,
            Some("json") => say(&json(&api, server.as_ref()).to_string())?,
            Some(template) => {
                let both = Both(json(&api, server.as_ref()));
                say(&Template::parse(template)?.execute(&Value::Record(Rc::new(both)), Functions::Values)?)?;
            }
        }
        error.map_or(Ok(ExitCode::SUCCESS), Err)
    }
}

async fn ask(client: &Client) -> Result<SystemVersion, ClientError> {
    client.get("/version", Query::new()).await
}

fn platform() -> String {
    format!("{}/{}", std::env::consts::OS, architecture())
}

/// As the images' configurations write it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn text(api: &str, server: Option<&SystemVersion>) -> String {
    let mut lines = vec![
        "Client: cnm".to_owned(),
        format!(" Version:           {}", env!("CARGO_PKG_VERSION")),
        format!(" API version:       {api}"),
        format!(" OS/Arch:           {}", platform()),
    ];
    if let Some(server) = server {
        let platform = if server.platform.name.is_empty() {
            "Engine"
        } else {
            &server.platform.name
        };
        lines.extend([
            String::new(),
            format!("Server: {platform}"),
            " Engine:".to_owned(),
            format!("  Version:          {}", server.version),
            format!(
                "  API version:      {} (minimum version {})",
                server.api_version, server.min_api_version
            ),
            format!("  Git commit:       {}", server.git_commit),
            format!("  Built:            {}", server.build_time),
            format!("  OS/Arch:          {}/{}", server.os, server.arch),
            format!("  Kernel:           {}", server.kernel_version),
        ]);
    }
    lines.join("\n") + "\n"
}

fn json(api: &str, server: Option<&SystemVersion>) -> serde_json::Value {
    serde_json::json!({
        "Client": {
            "Version": env!("CARGO_PKG_VERSION"),
            "ApiVersion": api,
            "DefaultAPIVersion": api_types::API_VERSION,
            "Os": std::env::consts::OS,
            "Arch": architecture(),
        },
        "Server": server.map(|server| serde_json::to_value(server).unwrap_or_default()),
    })
}

/// Client and server: `.Client.Version`, `.Server.Version`.
#[derive(Debug)]
struct Both(serde_json::Value);

impl Record for Both {
    fn kind(&self) -> String {
        "version".into()
    }

    fn get(&self, name: &str, _: &[Value]) -> Option<Result<Value, String>> {
        match self.0.get(name)? {
            serde_json::Value::Null => Some(Ok(Value::Nil)),
            value => Some(Ok(Value::from_json(value))),
        }
    }

    fn fields(&self) -> Vec<(String, Value)> {
        ["Client", "Server"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), Value::from_json(self.0.get(name)?))))
            .collect()
    }
}
