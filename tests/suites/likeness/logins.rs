//! Logging in to registries: Debian's, with passwords, and one that gives tokens. What the daemon says, and what
//! `docker login` makes of it.

use std::{fs, path::Path, process::Command, time::Duration};

use http::Method;
use netlab::{Api, Host, Process, Programs, Single, wait_for};
use serde_json::{Value, json};

use crate::{
    Test,
    recorded::{assert_golden, dockerd, golden},
};

/// `ann` with the password `secret`.
const PASSWORDS: &str = "ann:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// A registry that changes a password for a token, and gives another one to be kept.
const TOKENS: &str = r#"
import base64, http.server
class Registry(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body, headers={}):
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())
    def do_GET(self):
        said = self.headers.get("Authorization", "")
        if self.path.startswith("/token"):
            if said == "Basic " + base64.b64encode(b"ann:secret").decode():
                return self.answer(200, '{"token": "good", "refresh_token": "kept"}')
            return self.answer(401, '{"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]}')
        if said == "Bearer good":
            return self.answer(200, "{}")
        realm = 'Bearer realm="http://127.0.0.1:5004/token",service="lab"'
        self.answer(401, "{}", {"WWW-Authenticate": realm})
    def do_POST(self):
        kept = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if "refresh_token=kept" in kept:
            return self.answer(200, '{"access_token": "good", "refresh_token": "kept"}')
        self.answer(400, '{"details": "no such token"}')
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 5004), Registry).serve_forever()
"#;

/// Debian's registry on a port of the host, with TLS or without.
fn registry(host: &Host, port: u16, tls: bool) -> anyhow::Result<Process> {
    let folder = host.folder().join(format!("registry-{port}"));
    fs::create_dir_all(&folder)?;
    let passwords = folder.join("htpasswd");
    fs::write(&passwords, PASSWORDS)?;
    let pem = |name: &str| {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-proto/tests/tls");
        tests.join(name).display().to_string()
    };
    let mut http = json!({"addr": format!("0.0.0.0:{port}")});
    if tls {
        http["tls"] = json!({"certificate": pem("plugin.pem"), "key": pem("plugin.key")});
    }
    let config = json!({
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": folder.join("images")}},
        "http": http,
        "auth": {"htpasswd": {"realm": "lab", "path": passwords}},
    });
    let file = folder.join("config.yml");
    // Every JSON is YAML.
    fs::write(&file, config.to_string())?;
    let program = Programs::package("registry")?.join("usr/bin/docker-registry");
    let mut command = Command::new(program);
    command.arg("serve").arg(file);
    host.start(&format!("registry-{port}"), command)
}

fn tokens(host: &Host) -> anyhow::Result<Process> {
    let file = host.folder().join("tokens.py");
    fs::write(&file, TOKENS)?;
    let mut command = Command::new("python3");
    command.arg(file);
    host.start("tokens", command)
}

/// All of them, once they listen.
fn registries(host: &Host) -> anyhow::Result<[Process; 3]> {
    let all = [
        registry(host, 5000, false)?,
        registry(host, 5001, true)?,
        tokens(host)?,
    ];
    for port in ["5000", "5001", "5004"] {
        wait_for(&format!("port {port}"), Duration::from_secs(30), || {
            let listens = host.run("sh", &["-c", &format!("ss -ltn | grep -q ':{port} '")])?;
            listens.ok().map(drop)
        })?;
    }
    Ok(all)
}

/// Who logs in where, and what the daemon says.
fn play(api: &Api) -> anyhow::Result<String> {
    let ann = |server: &str| json!({"username": "ann", "password": "secret", "serveraddress": server});
    let with = |server: &str, key: &str, value: &str| {
        let mut asked = ann(server);
        asked[key] = value.into();
        asked
    };
    let rows: [(&str, Value); 11] = [
        ("the right password", ann("127.0.0.1:5000")),
        ("a URL for an address", ann("http://127.0.0.1:5000/v2/")),
        ("a wrong password", with("127.0.0.1:5000", "password", "guess")),
        ("nobody", json!({"serveraddress": "127.0.0.1:5000"})),
        ("a registry that is not there", ann("127.0.0.1:5999")),
        ("no TLS where it must be", ann("198.18.0.1:5000")),
        ("TLS that nobody vouches for, on this host", ann("127.0.0.1:5001")),
        ("tokens", ann("127.0.0.1:5004")),
        (
            "tokens for a wrong password",
            with("127.0.0.1:5004", "password", "guess"),
        ),
        (
            "tokens for what was kept",
            with("127.0.0.1:5004", "identitytoken", "kept"),
        ),
        ("no address", ann("https:///")),
    ];
    let mut text = String::new();
    for (name, asked) in rows {
        let answer = api.call(Method::POST, "/auth", Some(&asked))?;
        text.push_str(&format!(
            "{name}: {} {}\n",
            answer.status.as_u16(),
            answer.json()?
        ));
    }
    Ok(text)
}

#[test]
fn what_dockerd_says_to_who_logs_in() -> Test {
    let Some((_lab, docker)) = dockerd(&[])? else {
        return Ok(());
    };
    let _registries = registries(docker.host())?;
    assert_golden("logins.txt", &play(&docker.api())?)
}

#[test]
fn this_daemon_says_the_same() -> Test {
    let single = Single::start(&["--insecure-registry", "198.18.0.0/15"])?;
    let host = single.daemon.host();
    let _registries = registries(host)?;
    let line = ["login", "-u", "ann", "-p", "secret"];
    let login = |server: &str| single.daemon.docker(&[&line[..], &[server]].concat());
    for server in [
        "127.0.0.1:5000",
        "127.0.0.1:5001",
        "127.0.0.1:5004",
        "198.18.0.1:5000",
    ] {
        let said = login(server)?.ok()?;
        assert!(said.contains("Login Succeeded"), "{server}: {said}");
    }
    let wrong = ["login", "-u", "ann", "-p", "guess", "127.0.0.1:5000"];
    let refused = single.daemon.docker(&wrong)?.failed()?;
    assert!(
        refused.contains("failed with status: 401 Unauthorized"),
        "{refused}"
    );
    let info = single.daemon.api().get("/info")?;
    assert_eq!(
        info["RegistryConfig"]["InsecureRegistryCIDRs"][0],
        "198.18.0.0/15"
    );
    drop(single);
    let single = Single::start(&[])?;
    let _registries = registries(single.daemon.host())?;
    assert_eq!(
        play(&single.daemon.api())?,
        golden("logins.txt")?,
        "dockerd's on the right"
    );
    Ok(())
}
