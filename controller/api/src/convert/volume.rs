//! Volumes as clients see them, and which of them are asked for.

use api_types::{Filters, Volume, VolumeCreate, VolumeUsageData};
use axum::http::StatusCode;
use engine::{CreateVolume, VolumePrune, VolumeQuery, VolumeUsage, VolumeView};

use super::filter;
use crate::{
    status::{Answer, Refusal},
    version::ApiVersion,
};

/// Empty text is nothing.
pub(crate) fn create(request: VolumeCreate) -> Answer<CreateVolume> {
    if request.cluster_volume_spec.is_some() {
        return Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "This node is not a swarm manager. (hint: volumes of the local driver need none)",
        ));
    }
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(CreateVolume {
        name: given(request.name),
        driver: given(request.driver),
        options: request.driver_opts,
        labels: request.labels,
    })
}

/// One volume. Times have no fraction, as with Docker.
pub(crate) fn volume(view: &VolumeView) -> Volume {
    let record = &view.record;
    let some = |map: &model::Labels| Some(map.clone()).filter(|map| !map.is_empty());
    let created = record.created.to_string();
    Volume {
        created_at: match created.split_once('.') {
            Some((seconds, _)) => format!("{seconds}Z"),
            None => created,
        },
        driver: record.driver.clone(),
        labels: some(&record.labels),
        mountpoint: view.mountpoint.clone(),
        name: record.name.to_string(),
        options: some(&record.options),
        scope: if record.global { "global" } else { "local" }.to_owned(),
        status: view.status.clone(),
        usage_data: None,
    }
}

/// The same with its size.
pub(crate) fn measured(usage: &VolumeUsage) -> Volume {
    let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
    Volume {
        usage_data: Some(VolumeUsageData {
            ref_count: i64::try_from(usage.containers).unwrap_or(i64::MAX),
            size: usage.bytes.map_or(-1, number),
        }),
        ..volume(&usage.view)
    }
}

/// Which are listed.
pub(crate) fn query(filters: &Filters) -> Answer<VolumeQuery> {
    filter::known(filters, &["dangling", "driver", "label", "name"])?;
    Ok(VolumeQuery {
        names: filters.get("name").to_vec(),
        drivers: filters.get("driver").to_vec(),
        labels: filters
            .get("label")
            .iter()
            .map(|text| filter::label(text))
            .collect(),
        dangling: truth(filters, "dangling")?,
    })
}

/// Which are pruned. Before API 1.42 users' named ones, too.
pub(crate) fn prune(filters: &Filters, version: ApiVersion) -> Answer<VolumePrune> {
    filter::known(filters, &["all", "label", "label!"])?;
    let labels = |name: &str| filters.get(name).iter().map(|text| filter::label(text)).collect();
    Ok(VolumePrune {
        all: truth(filters, "all")?.unwrap_or(false) || version < ApiVersion(1, 42),
        labels: labels("label"),
        without_labels: labels("label!"),
    })
}

fn truth(filters: &Filters, name: &str) -> Answer<Option<bool>> {
    let given = filters.get(name);
    let read = |text: &String| match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(Refusal::bad_request(format!("invalid filter '{name}={text}'"))),
    };
    match given {
        [] => Ok(None),
        [one] => read(one).map(Some),
        _ => Err(Refusal::bad_request(format!("invalid filter '{name}={given:?}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_say_which_volumes_and_others_are_refused() {
        let filters = Filters::default()
            .with("dangling", "true")
            .with("label", "a=b")
            .with("name", "da");
        let asked = query(&filters).expect("known filters");
        assert_eq!(asked.dangling, Some(true));
        assert_eq!(asked.labels, [("a".to_owned(), Some("b".to_owned()))]);
        for (name, value) in [("dangling", "maybe"), ("colour", "red")] {
            assert!(
                query(&Filters::default().with(name, value)).is_err(),
                "{name}={value}"
            );
        }
    }

    #[test]
    fn old_clients_prune_named_volumes_too_and_new_ones_when_they_say_so() {
        let all = |filters: Filters, version| prune(&filters, version).expect("known").all;
        assert!(all(Filters::default(), ApiVersion(1, 41)));
        assert!(!all(Filters::default(), ApiVersion(1, 42)));
        assert!(all(Filters::default().with("all", "1"), ApiVersion(1, 51)));
    }
}
