//! The daemon's configuration file: whatever is in it, it is taken or refused with a reason.

use std::path::Path;

use fuzz::run;

use serde_json::Map;

use super::{Persona, decide};

#[test]
fn configuration_files() {
    let good: [&[u8]; 3] = [
        b"{}",
        b"{\"debug\": true, \"bip\": \"10.1.0.1/24\", \"mtu\": 1400, \"dns\": [\"9.9.9.9\"], \"labels\": [\"a=b\"],\
          \"default-address-pools\": [{\"base\": \"10.0.0.0/8\", \"size\": 24}]}",
        b"{\"log-opts\": {\"max-size\": \"1m\"}, \"storage-driver\": \"overlay2\", \"iptables\": false}",
    ];
    run(
        "configuration-files",
        env!("CARGO_MANIFEST_DIR"),
        &good,
        |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let config = decide(Persona::Cnmd, &Map::new(), Path::new("daemon.json"), &text);
            config.map(drop).map_err(|error| error.to_string())
        },
    );
}
