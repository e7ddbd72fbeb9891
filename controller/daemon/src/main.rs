//! `cnmd`: reads the configuration, takes its roots, starts every part, serves, and lets go.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use daemon::{
    arguments,
    config::{self, Config, DockerPlugin, Listen, Persona},
    lock::{Pidfile, Roots},
    metrics, notify,
    programs::Programs,
    reload::Reload,
    telemetry,
    wire::{self, Daemon},
};
use plugin::Plugin;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

fn main() -> ExitCode {
    let persona = Persona::of(&std::env::args().next().unwrap_or_default());
    match run(persona) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error:#}", persona.name());
            if let Some(hint) = hint(&error) {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

/// What the user may do about a failure of the networks.
fn hint(error: &anyhow::Error) -> Option<String> {
    error.downcast_ref::<controller::Error>()?.hint()
}

fn run(persona: Persona) -> anyhow::Result<()> {
    // Resolved before anything else: after an upgrade the kernel no longer knows the path.
    let executable = std::env::current_exe().context("finding this program")?;
    let arguments = arguments::read(&arguments::command(persona.name()).get_matches())?;
    let config = config::load(persona, &arguments)?;
    if arguments.validate {
        return Ok(());
    }
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "networks and containers need root"
    );
    let level = telemetry::start(&config.log_level);
    for key in &config.ignored {
        tracing::warn!("{key} is an option of dockerd that this daemon doesn't have: ignored");
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let _roots = Roots::claim(&config.data_root, &config.exec_root)?;
    let _pidfile = config.pidfile.as_deref().map(Pidfile::write).transpose()?;
    let programs = Programs::new(&executable, config.shim_path.as_deref());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting threads")?;
    let reload = Reload {
        persona,
        arguments,
        level,
    };
    runtime.block_on(daemon(&config, &programs, &reload))
}

async fn daemon(config: &Config, programs: &Programs, reload: &Reload) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let mut hangup = signal(SignalKind::hangup()).context("watching for SIGHUP")?;
    let daemon = wire::start(config, programs).await?;
    let reloading = async {
        let mut current = config.clone();
        while hangup.recv().await.is_some() {
            current = reload.reload(&current, &daemon);
        }
        std::future::pending::<()>().await;
    };
    let served = tokio::select! {
        served = serve(config, &daemon, stop) => served,
        () = reloading => Ok(()),
    };
    notify::state("STOPPING=1");
    daemon.stop().await;
    tracing::info!("stopped; containers and names go on");
    served
}

/// Listens on every socket until the first of them fails or the daemon is to stop.
async fn serve(config: &Config, daemon: &Daemon, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let mut servers = JoinSet::new();
    for place in &config.listen {
        match place {
            Listen::Unix(path) => drop(servers.spawn(listen(path, &config.group, daemon, stop.clone())?)),
            Listen::Tcp(address) => {
                drop(servers.spawn(listen_tcp(address, &config.tcp, daemon, stop.clone()).await?));
            }
        }
    }
    if let (Some(docker), Some(plugin)) = (&config.docker, &daemon.plugin) {
        servers.spawn(serve_docker(docker, plugin, stop.clone())?);
    }
    if let Some(address) = config.metrics_addr {
        servers.spawn(metrics::listen(address, daemon.metrics.clone(), stop.clone()).await?);
    }
    tracing::info!(sockets = ?config.listen, "ready");
    notify::state("READY=1");
    while let Some(ended) = servers.join_next().await {
        ended.context("serving the API")??;
    }
    Ok(())
}

/// Listens where Docker looks for its plugins. The socket stays for who comes next: Docker waits for it then, and does not
/// take the plugin for gone.
fn serve_docker(
    docker: &DockerPlugin,
    plugin: &Plugin,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + use<>> {
    let (path, server) = (docker.socket.clone(), plugin.server());
    let listener = plugin_proto::server::bind(&path)
        .with_context(|| format!("listening for Docker at {}", path.display()))?;
    Ok(async move {
        tokio::select! {
            served = server.serve(listener) => served.with_context(|| format!("serving {}", path.display())),
            _ = stop.wait_for(|stop| *stop) => Ok(()),
        }
    })
}

fn listen(
    path: &Path,
    group: &str,
    daemon: &Daemon,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + use<>> {
    let listener = api::listen(path, group)?;
    let path: PathBuf = path.to_owned();
    let (engine, metrics) = (daemon.engine.clone(), daemon.metrics.clone());
    Ok(async move {
        let stopped = async move {
            // An error means that nobody can ask to stop any more, which is as good.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let served = api::serve(listener, engine, metrics, stopped).await;
        // A client that comes now is told at once that nobody is here.
        let _ = std::fs::remove_file(&path);
        served.with_context(|| format!("serving {}", path.display()))
    })
}

async fn listen_tcp(
    address: &str,
    tcp: &config::Tcp,
    daemon: &Daemon,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + use<>> {
    let acceptor = tcp.tls.as_ref().map(api::TlsFiles::acceptor).transpose()?;
    if acceptor.is_none() {
        tracing::warn!("tcp://{address} is open: everybody who can reach it is root on this host");
    }
    let listener = api::Tcp::listen(address, acceptor).await;
    let listener = listener.with_context(|| format!("listening on tcp://{address}"))?;
    let (engine, metrics, address) = (daemon.engine.clone(), daemon.metrics.clone(), listener.address());
    Ok(async move {
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let served = api::serve(listener, engine, metrics, stopped).await;
        served.with_context(|| format!("serving tcp://{address}"))
    })
}

/// Becomes true at the first SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (tell, stop) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watching for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        tell.send_replace(true);
    });
    Ok(stop)
}
