//! What comes over a plugin's socket from either end, and the files that say where it is.

use fuzz::run;
use serde::de::DeserializeOwned;

use crate::{
    Nothing,
    activation::Activation,
    decode::{decode, object, refusal},
    discovery, ipam_driver as ipam, network_driver as net,
    server::{Answer, IpamDriver, NetworkDriver, Server, VolumeDriver},
    volume_driver as volume,
};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The good replies of the corpus.
fn good() -> Vec<Vec<u8>> {
    let folder = std::fs::read_dir(format!("{HERE}/tests/corpus/replies")).expect("the corpus");
    let mut paths: Vec<_> = folder.map(|file| file.expect("the corpus").path()).collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| std::fs::read(path).expect("the corpus"))
        .collect()
}

fn read<T: DeserializeOwned>(body: &[u8]) -> bool {
    decode::<T>(body).is_ok()
}

#[test]
fn replies() {
    let good = good();
    let good: Vec<&[u8]> = good.iter().map(Vec::as_slice).collect();
    run("replies", HERE, &good, |body| {
        let taken = [
            read::<Activation>(body),
            read::<net::Capabilities>(body),
            read::<net::GwAllocChecked>(body),
            read::<net::AllocatedNetwork>(body),
            read::<net::CreatedEndpoint>(body),
            read::<net::OperInfo>(body),
            read::<net::Joined>(body),
            read::<ipam::Capabilities>(body),
            read::<ipam::AddressSpaces>(body),
            read::<ipam::PoolGranted>(body),
            read::<ipam::AddressGranted>(body),
            read::<volume::Mounted>(body),
            read::<volume::Found>(body),
            read::<volume::Listed>(body),
            read::<volume::Capable>(body),
        ];
        (taken, object(body).map(|object| refusal(&object).is_some()))
    });
}

struct Anything;

impl NetworkDriver for Anything {}

#[async_trait::async_trait]
impl IpamDriver for Anything {
    async fn request_pool(&self, _: ipam::RequestPool) -> Answer<ipam::PoolGranted> {
        Ok(ipam::PoolGranted::default())
    }
    async fn release_pool(&self, _: ipam::ReleasePool) -> Answer<Nothing> {
        Ok(Nothing {})
    }
    async fn request_address(&self, _: ipam::RequestAddress) -> Answer<ipam::AddressGranted> {
        Ok(ipam::AddressGranted::default())
    }
    async fn release_address(&self, _: ipam::ReleaseAddress) -> Answer<Nothing> {
        Ok(Nothing {})
    }
}

#[async_trait::async_trait]
impl VolumeDriver for Anything {
    async fn create(&self, _: volume::Create) -> Answer<Nothing> {
        Ok(Nothing {})
    }
    async fn remove(&self, _: volume::Remove) -> Answer<Nothing> {
        Ok(Nothing {})
    }
    async fn mount(&self, _: volume::Mount) -> Answer<volume::Mounted> {
        Ok(volume::Mounted::default())
    }
    async fn unmount(&self, _: volume::Unmount) -> Answer<Nothing> {
        Ok(Nothing {})
    }
    async fn get(&self, _: volume::Get) -> Answer<volume::Found> {
        Ok(volume::Found::default())
    }
    async fn list(&self) -> Answer<volume::Listed> {
        Ok(volume::Listed::default())
    }
}

/// A method, a line's end and a body.
#[test]
fn requests() {
    let good: [&[u8]; 7] = [
        b"Plugin.Activate\n",
        b"NetworkDriver.CreateNetwork\n{\"NetworkID\":\"n\",\"Options\":{\"com.docker.network.generic\":{\"a\":\"b\"}},\
          \"IPv4Data\":[{\"AddressSpace\":\"x\",\"Pool\":\"10.0.0.0/24\",\"Gateway\":\"10.0.0.1/24\"}],\"IPv6Data\":[]}",
        b"NetworkDriver.CreateEndpoint\n{\"NetworkID\":\"n\",\"EndpointID\":\"e\",\"Interface\":null,\"Options\":{}}",
        b"NetworkDriver.Join\n{\"NetworkID\":\"n\",\"EndpointID\":\"e\",\"SandboxKey\":\"/x\",\"Options\":null}",
        b"NetworkDriver.DiscoverNew\n{\"DiscoveryType\":1,\"DiscoveryData\":{\"Address\":\"192.0.2.1\",\"Self\":true}}",
        b"IpamDriver.RequestPool\n{\"AddressSpace\":\"\",\"Pool\":\"\",\"SubPool\":\"\",\"Options\":null,\"V6\":false}",
        b"VolumeDriver.Create\n{\"Name\":\"v\",\"Opts\":null}",
    ];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let server = Server::default()
        .network(Anything)
        .ipam(Anything)
        .volumes(Anything);
    run("requests", HERE, &good, |input| {
        let text = String::from_utf8_lossy(input);
        let (method, body) = text.split_once('\n').unwrap_or((&text, ""));
        let (status, reply) = runtime.block_on(server.handle(method, body.as_bytes()));
        (
            status,
            serde_json::from_slice::<serde_json::Value>(&reply).is_ok(),
        )
    });
}

#[test]
fn specifications() {
    let good: [&[u8]; 4] = [
        b"unix:///run/docker/plugins/x.sock\n",
        b"tcp://localhost:8080",
        b"{\"Name\":\"x\",\"Addr\":\"https://example.com/docker/plugin:1\"}",
        b"{\"Addr\":\"https://h:1\",\"TLSConfig\":{\"InsecureSkipVerify\":false,\"CAFile\":\"/c\",\"KeyFile\":\"/k\"}}",
    ];
    run("specifications", HERE, &good, |input| {
        let text = String::from_utf8_lossy(input);
        (discovery::line(&text).is_ok(), discovery::json(&text).is_ok())
    });
}
