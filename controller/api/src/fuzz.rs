//! What clients write inside of JSON: mounts, volumes and filters.

use api_types::{Config, Filters, HostConfig};
use fuzz::run;

use crate::convert::{mounts, volume};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn mounts_and_volumes() {
    let good: [&[u8]; 4] = [
        br#"{"Binds":["/a:/b:ro,rslave","data:/d:nocopy,z","data:/d"],"VolumeDriver":"local"}"#,
        br#"{"Mounts":[{"Type":"volume","Source":"d","Target":"/d","VolumeOptions":{"NoCopy":true,"Labels":{"a":"b"},"DriverConfig":{"Name":"local","Options":{"o":"x"}}}}]}"#,
        br#"{"Mounts":[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1,"Mode":448}},{"Type":"bind","Source":"/a","Target":"/b","BindOptions":{"Propagation":"rshared"}}]}"#,
        br#"{"Tmpfs":{"/t":"size=1m,noexec"},"VolumesFrom":["one:ro","two"]}"#,
    ];
    run("mounts", HERE, &good, |bytes| {
        let host = serde_json::from_slice::<HostConfig>(bytes).ok()?;
        let read = mounts::mounts(&Config::default(), &host);
        Some(read.is_ok())
    });
}

#[test]
fn filters_of_volumes() {
    let good: [&[u8]; 3] = [
        br#"{"label":["a=b"],"name":["x"],"dangling":["true"],"driver":["local"]}"#,
        br#"{"label!":["a"],"all":["1"]}"#,
        b"",
    ];
    run("filters", HERE, &good, |bytes| {
        let filters = Filters::parse(&String::from_utf8_lossy(bytes)).ok()?;
        Some(volume::query(&filters).is_ok())
    });
}
