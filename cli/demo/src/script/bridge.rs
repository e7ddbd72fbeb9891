//! Bridge networks within one host: names, isolation between networks, and a container that joins a second one.

use anyhow::{Context as _, ensure};
use netlab::OUTSIDE_ADDRESS;
use serde_json::Value;

use super::Play;

pub(super) fn play(play: &mut Play<'_>) -> anyhow::Result<()> {
    play.screen
        .heading("a bridge network on host1, with two containers");
    play.must(1, "net create frontend")?;
    play.serve(1, "frontend", "web")?;
    play.must(1, "cnm run -d --net frontend --name box busybox sleep 600")?;
    play.works("box pings web by name", 1, "cnm exec box ping -c 1 -W 2 web")?;
    let fetch = "cnm exec box wget -q -T 5 -O - http://web/";
    play.shows(
        "box fetches from web over HTTP by name",
        1,
        fetch,
        "hello from web",
    )?;
    let outside = format!("cnm exec box ping -c 1 -W 2 {OUTSIDE_ADDRESS}");
    play.works("box reaches an address outside", 1, &outside)?;
    isolation(play)?;
    connection(play)?;
    inspection(play)
}

fn isolation(play: &mut Play<'_>) -> anyhow::Result<()> {
    play.screen
        .heading("a second network, which can't be reached from the first");
    play.must(1, "net create backend")?;
    play.must(1, "cnm run -d --net backend --name db busybox sleep 600")?;
    let db = play.address(1, "db", "backend")?;
    let web = play.address(1, "web", "frontend")?;
    let pings = [
        (
            "box can't reach db by address",
            format!("cnm exec box ping -c 1 -W 1 {db}"),
            "100% packet loss",
        ),
        (
            "db can't reach web by address",
            format!("cnm exec db ping -c 1 -W 1 {web}"),
            "100% packet loss",
        ),
        (
            "box does not know db's name",
            "cnm exec box ping -c 1 -W 1 db".to_owned(),
            "bad address",
        ),
    ];
    for (sentence, line, complaint) in pings {
        play.fails(sentence, 1, &line, complaint)?;
    }
    Ok(())
}

fn connection(play: &mut Play<'_>) -> anyhow::Result<()> {
    play.screen.heading("web joins the second network while it runs");
    play.must(1, "net connect backend web")?;
    play.shows(
        "web has a second interface at once",
        1,
        "cnm exec web ip addr show eth1",
        "inet ",
    )?;
    play.works("db pings web by name now", 1, "cnm exec db ping -c 1 -W 2 web")?;
    play.works("web pings db by name now", 1, "cnm exec web ping -c 1 -W 2 db")?;
    let fetch = "cnm exec box wget -q -T 5 -O - http://web/";
    play.shows("web is still there for box", 1, fetch, "hello from web")?;
    play.must(1, "net disconnect backend web")?;
    play.fails(
        "after net disconnect db no longer finds web",
        1,
        "cnm exec db ping -c 1 -W 1 web",
        "bad address",
    )
}

fn inspection(play: &mut Play<'_>) -> anyhow::Result<()> {
    play.screen.heading("what is there");
    play.shows("cnm ps lists the containers", 1, "cnm ps", "web")?;
    let printed = play.must(1, "net inspect frontend")?;
    play.checks.record(
        "net inspect names the containers and their addresses",
        described(&printed),
    );
    play.fails(
        "a predefined network is not removed",
        1,
        "net rm bridge",
        "bridge",
    )
}

fn described(printed: &str) -> anyhow::Result<()> {
    let json: Value = serde_json::from_str(printed).context("inspect prints JSON")?;
    let network = &json[0];
    ensure!(network["Driver"] == "bridge", "Driver is {}", network["Driver"]);
    let containers = network["Containers"]
        .as_object()
        .context("Containers is an object")?;
    for name in ["web", "box"] {
        let container = containers.values().find(|container| container["Name"] == name);
        let address = &container.with_context(|| format!("{name} is not listed"))?["IPv4Address"];
        ensure!(
            address.as_str().is_some_and(|text| text.contains('/')),
            "{name} has {address}"
        );
    }
    Ok(())
}

/// Removes it again, as a user would.
pub(super) fn clear(play: &mut Play<'_>) -> anyhow::Result<()> {
    play.screen.heading("and away with it");
    play.must(1, "cnm rm -f web box db")?;
    play.works("both networks are removed", 1, "net rm frontend backend")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inspection_names_both_containers_with_their_addresses() {
        let json = |name: &str| {
            serde_json::json!([{"Driver": "bridge", "Containers": {
                "a": {"Name": "web", "IPv4Address": "172.18.0.2/24"},
                "b": {"Name": name, "IPv4Address": "172.18.0.3/24"},
            }}])
            .to_string()
        };
        assert!(described(&json("box")).is_ok());
        assert!(described(&json("other")).is_err());
    }
}
