//! For writing a plugin: implement [`NetworkDriver`], [`IpamDriver`], [`VolumeDriver`] or several of them, and serve
//! them at a socket.
//!
//! ```no_run
//! # use plugin_proto::server::{NetworkDriver, Server};
//! # struct Mine; impl NetworkDriver for Mine {}
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! Server::default().network(Mine).serve_at("/run/docker/plugins/mine.sock").await
//! # }
//! ```

mod volumes;

use std::{fmt, io, path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixListener,
};

use crate::{
    CONTENT_TYPE,
    activation::{self, Activation},
    call::Nothing,
    ipam_driver as ipam, network_driver as net,
};

pub use volumes::VolumeDriver;

/// A request is some hundred bytes.
const LARGEST: usize = 4 * 1024 * 1024;

/// Why a plugin won't: whoever asked gets to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In words.
    pub message: String,
    /// There is no such method.
    unknown: bool,
}

/// What a method answers.
pub type Answer<T> = Result<T, Refusal>;

impl<E: fmt::Display> From<E> for Refusal {
    fn from(reason: E) -> Self {
        Self {
            message: reason.to_string(),
            unknown: false,
        }
    }
}

/// What a method answers that isn't there: those that ask know by it that they needn't.
fn unknown<T>() -> Answer<T> {
    Err(Refusal {
        message: "no such method".to_owned(),
        unknown: true,
    })
}

/// A network driver. What it does not do needs not be written.
#[async_trait]
pub trait NetworkDriver: Send + Sync + 'static {
    /// What it can do.
    async fn get_capabilities(&self) -> Answer<net::Capabilities> {
        Ok(net::Capabilities {
            scope: "local".to_owned(),
            connectivity_scope: "local".to_owned(),
            ..net::Capabilities::default()
        })
    }
    /// Which gateway addresses a network does without.
    async fn gw_alloc_check(&self, _: net::GwAllocCheck) -> Answer<net::GwAllocChecked> {
        unknown()
    }
    /// Allocates what all hosts will be told.
    async fn allocate_network(&self, _: net::AllocateNetwork) -> Answer<net::AllocatedNetwork> {
        unknown()
    }
    /// Gives that back.
    async fn free_network(&self, _: net::FreeNetwork) -> Answer<Nothing> {
        unknown()
    }
    /// Makes a network.
    async fn create_network(&self, _: net::CreateNetwork) -> Answer<Nothing> {
        Ok(Nothing {})
    }
    /// Removes it.
    async fn delete_network(&self, _: net::DeleteNetwork) -> Answer<Nothing> {
        Ok(Nothing {})
    }
    /// Makes an endpoint.
    async fn create_endpoint(&self, _: net::CreateEndpoint) -> Answer<net::CreatedEndpoint> {
        Ok(net::CreatedEndpoint::default())
    }
    /// Removes it.
    async fn delete_endpoint(&self, _: net::DeleteEndpoint) -> Answer<Nothing> {
        Ok(Nothing {})
    }
    /// How it does.
    async fn endpoint_oper_info(&self, _: net::EndpointOperInfo) -> Answer<net::OperInfo> {
        Ok(net::OperInfo::default())
    }
    /// Makes the endpoint's interface on the host, and says which it is.
    async fn join(&self, _: net::Join) -> Answer<net::Joined> {
        Ok(net::Joined::default())
    }
    /// The interface is on the host again, or gone with its sandbox.
    async fn leave(&self, _: net::Leave) -> Answer<Nothing> {
        Ok(Nothing {})
    }
    /// The endpoint is its sandbox's gateway.
    async fn program_external_connectivity(&self, _: net::ProgramExternalConnectivity) -> Answer<Nothing> {
        unknown()
    }
    /// It is no more.
    async fn revoke_external_connectivity(&self, _: net::RevokeExternalConnectivity) -> Answer<Nothing> {
        unknown()
    }
    /// A host came.
    async fn discover_new(&self, _: net::DiscoverNew) -> Answer<Nothing> {
        Ok(Nothing {})
    }
    /// A host went.
    async fn discover_delete(&self, _: net::DiscoverDelete) -> Answer<Nothing> {
        Ok(Nothing {})
    }
}

/// A driver of addresses.
#[async_trait]
pub trait IpamDriver: Send + Sync + 'static {
    /// What it needs.
    async fn get_capabilities(&self) -> Answer<ipam::Capabilities> {
        Ok(ipam::Capabilities::default())
    }
    /// The names of its address spaces.
    async fn get_default_address_spaces(&self) -> Answer<ipam::AddressSpaces> {
        Ok(ipam::AddressSpaces {
            local_default_address_space: "local".to_owned(),
            global_default_address_space: "global".to_owned(),
        })
    }
    /// Grants a pool.
    async fn request_pool(&self, request: ipam::RequestPool) -> Answer<ipam::PoolGranted>;
    /// Takes it back.
    async fn release_pool(&self, request: ipam::ReleasePool) -> Answer<Nothing>;
    /// Grants an address.
    async fn request_address(&self, request: ipam::RequestAddress) -> Answer<ipam::AddressGranted>;
    /// Takes it back.
    async fn release_address(&self, request: ipam::ReleaseAddress) -> Answer<Nothing>;
}

/// A plugin: its drivers.
#[derive(Clone, Default)]
pub struct Server {
    network: Option<Arc<dyn NetworkDriver>>,
    ipam: Option<Arc<dyn IpamDriver>>,
    volumes: Option<Arc<dyn VolumeDriver>>,
    observer: Option<Observer>,
}

/// Is told of every call: its method and its body.
type Observer = Arc<dyn Fn(&str, &[u8]) + Send + Sync>;

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.implements()).finish()
    }
}

impl Server {
    /// With a network driver.
    #[must_use]
    pub fn network(mut self, driver: impl NetworkDriver) -> Self {
        self.network = Some(Arc::new(driver));
        self
    }

    /// With a driver of addresses.
    #[must_use]
    pub fn ipam(mut self, driver: impl IpamDriver) -> Self {
        self.ipam = Some(Arc::new(driver));
        self
    }

    /// With a driver of volumes.
    #[must_use]
    pub fn volumes(mut self, driver: impl VolumeDriver) -> Self {
        self.volumes = Some(Arc::new(driver));
        self
    }

    /// Tells of every call before it is answered: for logs.
    #[must_use]
    pub fn observed_by(mut self, observer: impl Fn(&str, &[u8]) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    fn implements(&self) -> Vec<String> {
        let network = self.network.is_some().then_some(activation::NETWORK_DRIVER);
        let ipam = self.ipam.is_some().then_some(activation::IPAM_DRIVER);
        let volumes = self.volumes.is_some().then_some(activation::VOLUME_DRIVER);
        let all = [network, ipam, volumes].into_iter().flatten();
        all.map(str::to_owned).collect()
    }

    /// Serves at a socket of this path until the process ends. What is there of a process before is replaced.
    ///
    /// # Errors
    /// When the socket can't be made.
    pub async fn serve_at(self, path: impl AsRef<Path>) -> io::Result<()> {
        self.serve(bind(path.as_ref())?).await
    }

    /// Serves at a socket that is there already.
    ///
    /// # Errors
    /// When no connection can be taken any more.
    pub async fn serve(self, listener: UnixListener) -> io::Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            let server = self.clone();
            tokio::spawn(async move { server.serve_connection(stream).await });
        }
    }

    /// Serves one connection to its end.
    pub async fn serve_connection(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(|request| self.answer(request));
        let served = http1::Builder::new()
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = served.await {
            tracing::debug!(%error, "a connection broke");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, http::Error> {
        let (head, body) = request.into_parts();
        let (status, reply) = match Limited::new(body, LARGEST).collect().await {
            _ if head.method != Method::POST => (StatusCode::METHOD_NOT_ALLOWED, b"POST it".to_vec()),
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string().into_bytes()),
            Ok(body) => {
                let (server, body) = (self.clone(), body.to_bytes());
                // To its end, also when nobody waits for the reply any more: half of what was asked for would be left.
                let handled = tokio::spawn(async move {
                    let method = head.uri.path().trim_start_matches('/');
                    server.handle(method, &body).await
                });
                match handled.await {
                    Ok(answer) => answer,
                    // No answer is a better one than a refusal: who dies in the middle may have done half of it.
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into_bytes()),
                }
            }
        };
        Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            .body(Full::new(reply.into()))
    }

    /// Answers one call: a status and a body.
    pub async fn handle(&self, method: &str, body: &[u8]) -> (StatusCode, Vec<u8>) {
        if let Some(observer) = &self.observer {
            observer(method, body);
        }
        let reply = match method.split_once('.') {
            Some(("Plugin", "Activate")) => {
                let implements = self.implements();
                return reply(Ok(Activation { implements }));
            }
            Some((activation::NETWORK_DRIVER, method)) => match &self.network {
                Some(driver) => network(&**driver, method, body).await,
                None => None,
            },
            Some((activation::IPAM_DRIVER, method)) => match &self.ipam {
                Some(driver) => addresses(&**driver, method, body).await,
                None => None,
            },
            Some((activation::VOLUME_DRIVER, method)) => match &self.volumes {
                Some(driver) => volumes(&**driver, method, body).await,
                None => None,
            },
            _ => None,
        };
        reply.unwrap_or_else(|| (StatusCode::NOT_FOUND, b"404 page not found\n".to_vec()))
    }
}

/// Listens at a socket of this path, and at no time is there none: one of a process before is replaced when this one can be
/// reached. Only its owner may connect: whoever can is asked to make networks.
///
/// # Errors
/// When the socket can't be made.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Docker takes every name that ends so for a plugin's.
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, path)?;
    Ok(listener)
}

type Reply = (StatusCode, Vec<u8>);

/// Reads a request, has it done and writes the reply.
macro_rules! dispatch {
    ($driver:ident, $method:ident, $body:ident, $none:pat => $no_arguments:expr, { $($name:literal => $verb:ident,)* }) => {
        match $method {
            $none => Some($no_arguments),
            $($name => Some(match read($body) {
                Ok(request) => reply($driver.$verb(request).await),
                Err(bad) => bad,
            }),)*
            _ => None,
        }
    };
}

#[expect(clippy::cognitive_complexity, reason = "a table of names")]
async fn network(driver: &dyn NetworkDriver, method: &str, body: &[u8]) -> Option<Reply> {
    dispatch!(driver, method, body, "GetCapabilities" => reply(driver.get_capabilities().await), {
        "GwAllocCheck" => gw_alloc_check,
        "AllocateNetwork" => allocate_network,
        "FreeNetwork" => free_network,
        "CreateNetwork" => create_network,
        "DeleteNetwork" => delete_network,
        "CreateEndpoint" => create_endpoint,
        "DeleteEndpoint" => delete_endpoint,
        "EndpointOperInfo" => endpoint_oper_info,
        "Join" => join,
        "Leave" => leave,
        "ProgramExternalConnectivity" => program_external_connectivity,
        "RevokeExternalConnectivity" => revoke_external_connectivity,
        "DiscoverNew" => discover_new,
        "DiscoverDelete" => discover_delete,
    })
}

async fn addresses(driver: &dyn IpamDriver, method: &str, body: &[u8]) -> Option<Reply> {
    if method == "GetDefaultAddressSpaces" {
        return Some(reply(driver.get_default_address_spaces().await));
    }
    dispatch!(driver, method, body, "GetCapabilities" => reply(driver.get_capabilities().await), {
        "RequestPool" => request_pool,
        "ReleasePool" => release_pool,
        "RequestAddress" => request_address,
        "ReleaseAddress" => release_address,
    })
}

async fn volumes(driver: &dyn VolumeDriver, method: &str, body: &[u8]) -> Option<Reply> {
    if method == "List" {
        return Some(reply(driver.list().await));
    }
    dispatch!(driver, method, body, "Capabilities" => reply(driver.capabilities().await), {
        "Create" => create,
        "Remove" => remove,
        "Mount" => mount,
        "Unmount" => unmount,
        "Path" => path,
        "Get" => get,
    })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Reply> {
    serde_json::from_slice(body).map_err(|error| refused(StatusCode::BAD_REQUEST, &error.to_string()))
}

fn reply<T: Serialize>(answer: Answer<T>) -> Reply {
    match answer {
        Ok(answer) => match serde_json::to_vec(&answer) {
            Ok(body) => (StatusCode::OK, body),
            Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        Err(Refusal {
            message,
            unknown: true,
        }) => (StatusCode::NOT_FOUND, message.into_bytes()),
        Err(refusal) => refused(StatusCode::INTERNAL_SERVER_ERROR, &refusal.message),
    }
}

fn refused(status: StatusCode, message: &str) -> Reply {
    (
        status,
        serde_json::json!({ "Err": message }).to_string().into_bytes(),
    )
}
