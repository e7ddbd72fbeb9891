//! Volumes that a plugin has and nobody made here.

use std::{fs, path::Path, process::Command, time::Duration};

use netlab::{Finished, Host, Process, Single, wait_for};

use crate::{
    Test,
    recorded::{assert_golden, dockerd, golden},
};

/// A plugin with two volumes.
const PLUGIN: &str = r#"
import http.server, json, socketserver, sys
volumes = {name: {"Name": name, "CreatedAt": "2026-01-02T03:04:05Z"} for name in ("theirs", "others")}
class Plugin(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        name = asked.get("Name")
        method = self.path.strip("/").split(".")[-1]
        known = name in volumes
        answer = {"Err": "no such volume"} if method in ("Get", "Remove", "Mount", "Path") and not known else {}
        if method == "Activate":
            answer = {"Implements": ["VolumeDriver"]}
        elif method == "Capabilities":
            answer = {"Capabilities": {"Scope": "local"}}
        elif method == "List":
            answer = {"Volumes": list(volumes.values())}
        elif method == "Create":
            volumes[name] = {"Name": name, "CreatedAt": "2026-01-02T03:04:05Z"}
        elif method == "Get" and known:
            answer = {"Volume": volumes[name]}
        elif method == "Remove" and known:
            del volumes[name]
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.docker.plugins.v1.2+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def address_string(self):
        return "docker"
    def log_message(self, *_):
        pass
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    pass
Server(sys.argv[1], Plugin).serve_forever()
"#;

const LINES: [&str; 12] = [
    "volume create ours",
    "volume create -d store both",
    "volume ls -q",
    "volume ls -q -f driver=store",
    "volume ls -q -f name=our",
    "volume ls -q -f dangling=true",
    "volume ls -q -f label=any",
    "volume inspect -f {{.Driver}}|{{.CreatedAt}}|{{.Scope}}|{{.Mountpoint}} theirs",
    "info -f {{json .Plugins.Volume}}",
    "volume rm theirs",
    "volume ls -q",
    "volume inspect theirs",
];

fn plugin(host: &Host, folder: &Path) -> anyhow::Result<Process> {
    let file = host.folder().join("plugin.py");
    fs::write(&file, PLUGIN)?;
    let socket = folder.join("store.sock").display().to_string();
    host.run("mkdir", &["-p", &folder.display().to_string()])?.ok()?;
    let mut command = Command::new("python3");
    command.arg(file).arg(&socket);
    let process = host.start("plugin", command)?;
    wait_for("the plugin", Duration::from_secs(30), || {
        host.run("test", &["-S", &socket])?.ok().map(drop)
    })?;
    Ok(process)
}

fn play(docker: &dyn Fn(&[&str]) -> anyhow::Result<Finished>) -> anyhow::Result<String> {
    let mut text = String::new();
    for line in LINES {
        let words: Vec<_> = match line.split_once(" {{json") {
            Some((before, after)) => {
                let template = format!("{{{{json{after}");
                text.push_str(&format!("$ docker {line}\n"));
                let words: Vec<&str> = before.split(' ').chain([&*template]).collect();
                text.push_str(&said(&docker(&words)?));
                continue;
            }
            None => line.split(' ').collect(),
        };
        text.push_str(&format!("$ docker {line}\n"));
        text.push_str(&said(&docker(&words)?));
    }
    Ok(text)
}

fn said(done: &Finished) -> String {
    let lines = done.stdout.lines().map(str::to_owned);
    let complaints = done.stderr.lines().map(|line| format!("! {line}"));
    lines.chain(complaints).map(|line| line + "\n").collect()
}

#[test]
fn what_dockerd_shows_of_a_plugins_volumes() -> Test {
    let Some((_lab, docker)) = dockerd(&[])? else {
        return Ok(());
    };
    let _plugin = plugin(docker.host(), Path::new("/run/docker/plugins"))?;
    assert_golden("foreign.txt", &play(&|words| docker.docker(words))?)
}

#[test]
fn this_daemon_shows_the_same_of_them() -> Test {
    let single = Single::start(&[])?;
    let daemon = &single.daemon;
    let folder = daemon.exec_root().join("plugins");
    let _plugin = plugin(daemon.host(), &folder)?;
    let ours = play(&|words| daemon.docker(words))?;
    assert_eq!(ours, golden("foreign.txt")?, "dockerd's on the right");
    // Somebody listens there and never answers: he is not waited for long, and keeps nothing from the others.
    let _silent = std::os::unix::net::UnixListener::bind(folder.join("silent.sock"))?;
    assert_eq!(daemon.ok("volume ls -q")?, "both\nothers\nours");
    Ok(())
}
