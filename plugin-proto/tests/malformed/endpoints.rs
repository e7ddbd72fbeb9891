//! All calls that there are, with something to ask.

use std::{pin::Pin, time::Duration};

use plugin_proto::{
    Call, Error, Plugin, activation::NETWORK_DRIVER, ipam_driver as ipam, network_driver as net,
    volume_driver as volume,
};

type Outcome<'p> = Pin<Box<dyn Future<Output = Result<String, Error>> + Send + 'p>>;

/// One call. What was read of its reply is told as text.
pub(crate) struct Endpoint {
    pub(crate) method: &'static str,
    pub(crate) ask: fn(&Plugin) -> Outcome<'_>,
}

macro_rules! endpoints {
    ($($call:ty,)*) => {
        pub(crate) const ENDPOINTS: &[Endpoint] = &[
            Endpoint {
                method: "Plugin.Activate",
                ask: |plugin| Box::pin(async {
                    plugin.require(NETWORK_DRIVER, Duration::ZERO).await.map(|()| String::new())
                }),
            },
            $(Endpoint {
                method: <$call>::METHOD,
                ask: |plugin| Box::pin(async {
                    plugin.call(&<$call>::default()).await.map(|reply| format!("{reply:?}"))
                }),
            },)*
        ];
    };
}

endpoints! {
    net::GetCapabilities,
    net::GwAllocCheck,
    net::AllocateNetwork,
    net::FreeNetwork,
    net::CreateNetwork,
    net::DeleteNetwork,
    net::CreateEndpoint,
    net::DeleteEndpoint,
    net::EndpointOperInfo,
    net::Join,
    net::Leave,
    net::ProgramExternalConnectivity,
    net::RevokeExternalConnectivity,
    net::DiscoverNew,
    net::DiscoverDelete,
    ipam::GetCapabilities,
    ipam::GetDefaultAddressSpaces,
    ipam::RequestPool,
    ipam::ReleasePool,
    ipam::RequestAddress,
    ipam::ReleaseAddress,
    volume::Create,
    volume::Remove,
    volume::Mount,
    volume::Unmount,
    volume::Path,
    volume::Get,
    volume::List,
    volume::GetCapabilities,
}
