//! `cnm inspect`, and what the inspect of each kind of object shares with it.

mod shape;

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{Context, path, say, show};
use crate::client::{Client, ClientError, Query};
use crate::error::{CommandError, Outcome};
use crate::grammar::names;
use crate::template::{Functions, Template};

/// Show all about containers, images, networks or volumes
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// A Go template, or json for one line
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// With sizes, if it is a container
    #[arg(short, long)]
    size: bool,
    /// Only objects of this kind
    #[arg(long, value_enum, value_name = "KIND")]
    r#type: Option<Type>,
    /// Names or ids of what to show
    #[arg(value_name = "NAME|ID", required = true, add = names::containers())]
    names: Vec<String>,
}

/// The kinds that can be asked for by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Type {
    Container,
    Image,
    Network,
    Volume,
}

/// A kind of object and how it is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Container { size: bool },
    Image,
    Network { verbose: bool },
    Sandbox,
    Volume,
}

impl Kind {
    fn request(self, name: &str) -> (String, Query) {
        match self {
            Kind::Container { size } => (
                path("containers", name, "/json"),
                Query::new().with_flag("size", size),
            ),
            Kind::Sandbox => (path("sandboxes", name, ""), Query::new()),
            Kind::Image => (path("images", name, "/json"), Query::new()),
            Kind::Network { verbose } => (
                path("networks", name, ""),
                Query::new().with_flag("verbose", verbose),
            ),
            Kind::Volume => (path("volumes", name, ""), Query::new()),
        }
    }
}

impl Inspect {
    /// Looks for each name among containers, then images, networks and volumes.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let container = Kind::Container { size: self.size };
        let network = Kind::Network { verbose: false };
        let kinds = match self.r#type {
            None => vec![container, Kind::Image, network, Kind::Volume],
            Some(Type::Container) => vec![container],
            Some(Type::Image) => vec![Kind::Image],
            Some(Type::Network) => vec![network],
            Some(Type::Volume) => vec![Kind::Volume],
        };
        inspect(context, &self.names, &kinds, self.format.as_deref()).await
    }
}

/// Shows objects: as a list of indented JSON, as the same in one line, or each through a template. What is found is
/// shown although another is missing.
pub(crate) async fn inspect(
    context: &Context,
    names: &[String],
    kinds: &[Kind],
    format: Option<&str>,
) -> Outcome {
    let format = format.map(str::trim).filter(|format| !format.is_empty());
    let template = match format {
        None | Some("json") => None,
        Some(template) => Some(Template::parse(template)?),
    };
    let client = context.client()?;
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for name in names {
        match find(client, name, kinds).await {
            Ok(object) => found.push(object),
            Err(error) => errors.push(error),
        }
    }
    match (&template, format) {
        (Some(template), _) => {
            for object in &found {
                say(&template.execute(&shape::value(object), Functions::Values)?)?;
            }
        }
        (None, Some(_)) => say(&serde_json::Value::Array(found).to_string())?,
        (None, None) => show(&indented(&serde_json::Value::Array(found)))?,
    }
    for error in &errors {
        error.report();
    }
    Ok(if errors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

async fn find(client: &Client, name: &str, kinds: &[Kind]) -> Result<serde_json::Value, CommandError> {
    for kind in kinds {
        let (path, query) = kind.request(name);
        match client.get_bytes(&path, query).await {
            Ok(bytes) => {
                return serde_json::from_slice(&bytes).map_err(|error| ClientError::Answer(error).into());
            }
            // Of several kinds, the next may have it.
            Err(error) if kinds.len() > 1 && error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut error = CommandError::new(format!("Error: No such object: {name}"));
    error.bare = true;
    Err(error)
}

/// JSON indented by four spaces.
fn indented(value: &serde_json::Value) -> String {
    let mut output = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut output, formatter);
    // Writing to memory can't fail, and the keys are strings.
    let _ = serde::Serialize::serialize(value, &mut serializer);
    output.push(b'\n');
    String::from_utf8_lossy(&output).into_owned()
}
