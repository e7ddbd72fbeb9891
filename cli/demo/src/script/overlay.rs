//! One overlay over two hosts: made on the first, seen by the second, and containers of both find each other.

use anyhow::{Context as _, ensure};
use netlab::{Finished, OUTSIDE_ADDRESS};
use serde_json::Value;

use super::{Play, proceed, words};

const SUBNET: &str = "172.16.2.";

pub(super) fn play(play: &mut Play<'_>) -> anyhow::Result<()> {
    play.screen
        .heading("an overlay network: created on host1, there on host2");
    let id = play.must(1, "net create -d overlay --subnet 172.16.2.0/24 ol1")?;
    listed(play, &id)?;
    play.screen.heading("a container on each host");
    play.serve(1, "ol1", "test01")?;
    play.serve(2, "ol1", "test02")?;
    let first = play.address(1, "test01", "ol1")?;
    let second = play.address(2, "test02", "ol1")?;
    play.checks.record(
        "test01 and test02 have addresses of the subnet, each its own",
        distinct(&first, &second),
    );
    play.screen
        .heading("they find each other, by address and by name, in both directions");
    let ends = [
        (1, "test01", "test02", second.as_str()),
        (2, "test02", "test01", first.as_str()),
    ];
    for (host, from, to, address) in ends {
        reach(play, host, from, to, address)?;
    }
    play.screen.heading("and the world outside");
    let outside = format!("cnm exec test01 ping -c 1 -W 2 {OUTSIDE_ADDRESS}");
    play.works("test01 reaches an address outside", 1, &outside)?;
    inspected(play, &id)
}

/// The second host lists the network with the id that the first was told.
fn listed(play: &mut Play<'_>, id: &str) -> anyhow::Result<()> {
    let short = id.get(..12).context("an id has 64 digits")?;
    let wanted = |finished: &Finished| {
        let table = finished.clone().ok()?;
        let row = table
            .lines()
            .find(|row| row.split_whitespace().nth(1) == Some("ol1"));
        let columns: Vec<_> = row.context("ol1 is not listed")?.split_whitespace().collect();
        ensure!(
            columns == [short, "ol1", "overlay", "global"],
            "listed as {columns:?}"
        );
        Ok(())
    };
    let met = play.stage.type_until(2, &["net", "ls"], play.screen, wanted);
    let took = proceed(met)?.map(|((), took)| took);
    play.checks
        .record_timed("host2 lists ol1: same id, overlay, scope global", took);
    Ok(())
}

fn distinct(first: &str, second: &str) -> anyhow::Result<()> {
    ensure!(first != second, "both have {first}");
    for address in [first, second] {
        ensure!(address.starts_with(SUBNET), "{address:?} is not of 172.16.2.0/24");
    }
    Ok(())
}

fn reach(play: &mut Play<'_>, host: usize, from: &str, to: &str, address: &str) -> anyhow::Result<()> {
    let ping = |target: &str| format!("cnm exec {from} ping -c 1 -W 2 {target}");
    play.works(&format!("{from} pings {to} by address"), host, &ping(address))?;
    play.works(&format!("{from} pings {to} by name"), host, &ping(to))?;
    let fetch = format!("cnm exec {from} wget -q -T 5 -O - http://{to}/");
    play.shows(
        &format!("{from} fetches from {to} over HTTP by name"),
        host,
        &fetch,
        &format!("hello from {to}"),
    )
}

fn inspected(play: &mut Play<'_>, id: &str) -> anyhow::Result<()> {
    play.screen.heading("what host2 knows of it");
    let printed = play.must(2, "net inspect ol1")?;
    play.checks.record(
        "host2 inspects ol1: id, driver, scope, subnet, its container",
        described(&printed, id),
    );
    Ok(())
}

fn described(printed: &str, id: &str) -> anyhow::Result<()> {
    let json: Value = serde_json::from_str(printed).context("inspect prints JSON")?;
    let network = &json[0];
    let rows = [
        ("Id", &network["Id"], id),
        ("Driver", &network["Driver"], "overlay"),
        ("Scope", &network["Scope"], "global"),
        ("Subnet", &network["IPAM"]["Config"][0]["Subnet"], "172.16.2.0/24"),
    ];
    for (name, found, wanted) in rows {
        ensure!(found == wanted, "{name} is {found}");
    }
    let containers = network["Containers"]
        .as_object()
        .context("Containers is an object")?;
    ensure!(
        containers.values().any(|container| container["Name"] == "test02"),
        "test02 is not among its containers"
    );
    Ok(())
}

/// Removes it again, as a user would.
pub(super) fn clear(play: &mut Play<'_>) -> anyhow::Result<()> {
    play.screen
        .heading("a network in use is not removed; after its containers it is, on both hosts");
    play.fails(
        "ol1 is not removed while containers use it",
        1,
        "net rm ol1",
        "test0",
    )?;
    play.must(1, "cnm rm -f test01")?;
    play.must(2, "cnm rm -f test02")?;
    play.works("ol1 is removed when nobody uses it", 1, "net rm ol1")?;
    let gone = |finished: &Finished| {
        let table = finished.clone().ok()?;
        ensure!(
            !table.split_whitespace().any(|word| word == "ol1"),
            "ol1 is still listed"
        );
        Ok(())
    };
    let met = play.stage.type_until(2, &words("net ls"), play.screen, gone);
    play.checks
        .record("host2 no longer lists ol1", proceed(met)?.map(drop));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_addresses_of_the_subnet_that_differ_are_right() {
        assert!(distinct("172.16.2.2", "172.16.2.3").is_ok());
        for (first, second) in [
            ("172.16.2.2", "172.16.2.2"),
            ("172.16.2.2", "10.0.0.1"),
            ("", "172.16.2.2"),
        ] {
            assert!(distinct(first, second).is_err(), "{first} {second}");
        }
    }

    #[test]
    fn an_inspection_is_read_field_by_field() {
        let right = serde_json::json!([{
            "Id": "ab", "Driver": "overlay", "Scope": "global",
            "IPAM": {"Config": [{"Subnet": "172.16.2.0/24"}]},
            "Containers": {"c1": {"Name": "test02"}},
        }]);
        assert!(described(&right.to_string(), "ab").is_ok());
        assert!(described(&right.to_string(), "cd").is_err());
        for (path, value) in [("/0/Scope", "local"), ("/0/Containers/c1/Name", "other")] {
            let mut wrong = right.clone();
            *wrong.pointer_mut(path).unwrap() = value.into();
            assert!(described(&wrong.to_string(), "ab").is_err(), "{path}");
        }
        assert!(described("no json", "ab").is_err());
    }
}
