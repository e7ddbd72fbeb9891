//! A kernel without some of its parts.

use kernel::modules::{Missing, Module};

use super::host::Host;
use crate::Error;

fn without(modules: &[Module]) -> Vec<Missing> {
    let missing = |module: &Module| Missing {
        module: *module,
        file: true,
    };
    modules.iter().map(missing).collect()
}

#[tokio::test]
async fn what_the_kernel_lacks_is_known_soon_and_refuses_networks_that_need_it_until_it_is_there() {
    let mut host = Host::new(1, None);
    host.kernel
        .lack(without(&[Module::Vxlan, Module::BridgeNetfilter]));
    host.start().await;
    let known = || host.controller().missing();
    while known().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        known(),
        without(&[Module::Vxlan]),
        "what nobody needs is not told"
    );
    let rows = host.local.everything().await;
    let refused = host
        .network("ol", "overlay", Some("10.9.0.0/24"))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused}");
    assert_eq!(
        refused.to_string(),
        "no overlay networks: this kernel has no \"vxlan\""
    );
    assert_eq!(refused.hint().as_deref(), Some("load it with \"modprobe vxlan\""));
    assert!(host.local.everything().await == rows, "nothing stays");
    host.network("lan", "bridge", Some("10.8.0.0/24")).await.unwrap();
    // Loaded meanwhile.
    host.kernel.lack(Vec::new());
    host.network("ol", "overlay", Some("10.9.0.0/24")).await.unwrap();
    assert_eq!(known(), []);
}
