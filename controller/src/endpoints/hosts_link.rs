//! Which of the host's interfaces a plugin may have moved into a container: its own. One that is ours, or that the host
//! itself goes out by, is named by mistake.

use kernel::{Key, Netns, Object};
use model::InterfaceName;

use crate::{
    core::Core,
    error::{Error, Result},
};

/// Where the host sends what it knows no nearer way to.
const EVERYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// Refuses an interface that the host would miss.
pub(super) async fn refuse_the_hosts(core: &Core, link: &InterfaceName) -> Result<()> {
    let routes = EVERYWHERE.map(|text| {
        let everywhere = text.parse().expect("a subnet without host bits");
        Key::Route(Netns::Host, everywhere)
    });
    let doing = format!("looking at {link}");
    let routes = core.worker.observe(&doing, routes.into()).await?;
    let owned = core.worker.observe_owned(&doing, Netns::Host).await?;
    let leads_out = |object: &Object| matches!(object, Object::Route(route) if route.link == *link);
    let is_it = |object: &Object| matches!(object, Object::Link(other) if other.name == *link);
    let why = match (
        routes.objects().any(leads_out),
        owned.iter().any(|(_, object)| is_it(object)),
    ) {
        (true, _) => "the host's default route leaves by it",
        (_, true) => "it belongs to a network of this host",
        (false, false) if link.as_str() == "lo" => "it is the host's loopback",
        (false, false) => return Ok(()),
    };
    Err(Error::Plugin {
        message: format!("the plugin wants {link} moved into the container, but {why}"),
        hint: Some("a plugin names an interface that it has made for the container".to_owned()),
    })
}
