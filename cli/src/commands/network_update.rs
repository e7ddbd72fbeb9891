//! `cnm network update`: Docker has nothing like it. Containers on the network don't notice but for what was asked.

use std::process::ExitCode;

use api_types::{Map, Network, NetworkUpdate as Request, NetworkUpdated};
use clap::Args;

use super::{Context, path, say};
use crate::client::Query;
use crate::error::{CommandError, Outcome};
use crate::grammar::{flags, names};
use crate::options::{pairs, pools};

/// Change a network while containers are on it
#[derive(Debug, Args)]
#[command(
    after_help = "cnm network update --dry-run --mtu 1400 lan   show what that would change in the kernel\n\
                  cnm network update --name office lan          containers find it under its new name at once"
)]
pub(crate) struct NetworkUpdate {
    /// Change nothing; show what would be changed, a line for each kernel object
    #[arg(long)]
    dry_run: bool,
    /// Gateway of an added subnet
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS", requires = "subnet")]
    gateway: Vec<String>,
    /// Whether its containers reach each other
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL",
          value_parser = flags::boolean)]
    icc: Option<bool>,
    /// Take containers' addresses from this part of an added subnet
    #[arg(long, value_delimiter = ',', value_name = "CIDR", requires = "subnet")]
    ip_range: Vec<String>,
    /// Label to add, or to give another value
    #[arg(long, visible_alias = "label", value_name = "KEY=VALUE")]
    label_add: Vec<String>,
    /// Label to take off
    #[arg(long, value_name = "KEY")]
    label_rm: Vec<String>,
    /// Whether what leaves the network gets the host's address
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL",
          value_parser = flags::boolean)]
    masquerade: Option<bool>,
    /// MTU of the network and of its containers' interfaces, in bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(68..=65535))]
    mtu: Option<u32>,
    /// New name of the network
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Subnet to add
    #[arg(long, value_delimiter = ',', value_name = "CIDR")]
    subnet: Vec<String>,
    /// Network to change
    #[arg(value_name = "NETWORK", add = names::networks())]
    network: String,
}

impl NetworkUpdate {
    /// Changes it and prints its name; with `--dry-run`, what would be done.
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if self.asks_for_nothing() {
            return Err(CommandError::new("nothing to change was named")
                .hint("cnm network update --help lists what can be changed"));
        }
        let client = context.client()?;
        let labels = if self.label_add.is_empty() && self.label_rm.is_empty() {
            None
        } else {
            let now: Network = client
                .get(&path("networks", &self.network, ""), Query::new())
                .await?;
            Some(self.labels(now.labels)?)
        };
        let mut query = Query::new();
        if self.dry_run {
            query = query.with("dryrun", "1");
        }
        let request = self.request(labels)?;
        let changed: NetworkUpdated = client
            .post(&path("networks", &self.network, "/update"), query, &request)
            .await?;
        if self.dry_run {
            for step in &changed.steps {
                say(step)?;
            }
        } else {
            say(self.name.as_deref().unwrap_or(&self.network))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn asks_for_nothing(&self) -> bool {
        self.name.is_none()
            && self.icc.is_none()
            && self.masquerade.is_none()
            && self.mtu.is_none()
            && self.subnet.is_empty()
            && self.label_add.is_empty()
            && self.label_rm.is_empty()
    }

    /// The labels as they are to be.
    fn labels(&self, mut labels: Map<String>) -> Result<Map<String>, String> {
        for key in &self.label_rm {
            if labels.remove(key).is_none() {
                return Err(format!("network {:?} has no label {key:?}", self.network));
            }
        }
        labels.extend(pairs(&self.label_add));
        Ok(labels)
    }

    /// What is asked of the daemon.
    fn request(&self, labels: Option<Map<String>>) -> Result<Request, String> {
        Ok(Request {
            name: self.name.clone().unwrap_or_default(),
            labels,
            mtu: self.mtu,
            icc: self.icc,
            masquerade: self.masquerade,
            subnets: if self.subnet.is_empty() {
                Vec::new()
            } else {
                pools::pools(&self.subnet, &self.ip_range, &self.gateway, &[])?
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        update: NetworkUpdate,
    }

    fn typed(line: &str) -> NetworkUpdate {
        let words = std::iter::once("update").chain(line.split(' '));
        Typed::try_parse_from(words).expect("the line is right").update
    }

    #[test]
    fn only_what_was_named_is_asked_for() {
        let request = typed("--mtu 1400 lan").request(None).expect("a request");
        assert_eq!(
            request,
            Request {
                mtu: Some(1400),
                ..Request::default()
            }
        );
        let request = typed("--icc=false --masquerade --name office lan")
            .request(None)
            .expect("a request");
        assert_eq!((request.icc, request.masquerade), (Some(false), Some(true)));
        assert_eq!(request.name, "office");
        assert!(typed("lan").asks_for_nothing());
    }

    #[test]
    fn labels_are_added_and_taken_off() {
        let now: Map<String> = [("a", "1"), ("b", "2")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let update = typed("--label-add a=3 --label-add c --label-rm b lan");
        let labels = update.labels(now.clone()).expect("labels");
        assert_eq!(format!("{labels:?}"), r#"{"a": "3", "c": ""}"#);
        assert!(typed("--label-rm z lan").labels(now).is_err());
    }

    #[test]
    fn a_subnet_is_added_with_its_gateway() {
        let request = typed("--subnet 10.9.0.0/24 --gateway 10.9.0.254 lan")
            .request(None)
            .expect("a request");
        assert_eq!(request.subnets[0].subnet, "10.9.0.0/24");
        assert_eq!(request.subnets[0].gateway, "10.9.0.254");
        assert!(typed("--subnet nonsense lan").request(None).is_err());
    }
}
