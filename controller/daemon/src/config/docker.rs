//! Being a plugin of a Docker daemon.

use std::path::PathBuf;

use super::{ConfigError, Persona, Raw, bad};

/// Where the two daemons meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerPlugin {
    /// Where Docker looks for the driver `cnm`.
    pub socket: PathBuf,
    /// Where Docker listens.
    pub docker: PathBuf,
}

pub(super) fn plugin(persona: Persona, raw: &Raw) -> Result<Option<DockerPlugin>, ConfigError> {
    let given = raw.docker_socket.as_deref();
    if !raw.docker_plugin {
        return match given {
            None => Ok(None),
            Some(_) => Err(bad("docker-socket", "is of use with docker-plugin only")),
        };
    }
    if persona == Persona::Dockerd {
        return Err(bad(
            "docker-plugin",
            "this daemon is in Docker's place, and can't be its plugin",
        ));
    }
    let text = given.unwrap_or("/run/docker.sock");
    let path = PathBuf::from(text.strip_prefix("unix://").unwrap_or(text));
    match path.is_absolute() {
        true => Ok(Some(DockerPlugin {
            socket: PathBuf::from(format!("/run/docker/plugins/{}.sock", plugin::NAME)),
            docker: path,
        })),
        false => Err(bad(
            "docker-socket",
            format!("{text:?} is no socket: unix:///run/docker.sock is"),
        )),
    }
}
