//! How long a call of a plugin takes that does nothing: what hosting drivers in other processes adds to each verb.

use std::time::{Duration, Instant};

use plugin_proto::{
    Limits, Places, Plugins,
    network_driver::{CreateNetwork, GetCapabilities},
    server::{NetworkDriver, Server},
};

struct Idle;
impl NetworkDriver for Idle {}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("plugin-speed-{}", std::process::id()));
    let socket = folder.join("idle.sock");
    let (sender, served) = tokio::sync::oneshot::channel();
    std::fs::create_dir_all(&folder)?;
    let listener = tokio::net::UnixListener::bind(&socket)?;
    // The plugin is on threads of its own, as another process would be.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let listener = listener.into_std();
        if let (Ok(runtime), Ok(listener)) = (runtime, listener) {
            let _ = runtime.block_on(async {
                let listener = tokio::net::UnixListener::from_std(listener)?;
                Server::default().network(Idle).serve(listener).await
            });
        }
        let _ = sender.send(());
    });
    let places = Places {
        sockets: vec![folder.clone()],
        specifications: Vec::new(),
    };
    let plugin = Plugins::new(places, Limits::default()).named("idle");
    plugin.call(&GetCapabilities).await?;
    let mut times = Vec::new();
    for _ in 0..2000 {
        let began = Instant::now();
        plugin.call(&CreateNetwork::default()).await?;
        times.push(began.elapsed());
    }
    times.sort();
    let at = |percent: usize| -> Duration { times[times.len() * percent / 100] };
    let mut out = std::io::stdout();
    std::io::Write::write_fmt(
        &mut out,
        format_args!("2000 calls: median {:?}, 99 of 100 within {:?}\n", at(50), at(99)),
    )?;
    std::fs::remove_dir_all(&folder)?;
    drop(served);
    Ok(())
}
