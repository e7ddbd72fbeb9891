//! Several services of one file, with the real `docker compose` of Debian against our socket: walkthrough S1.

use std::{fs, path::PathBuf, time::Duration};

use netlab::{Finished, Programs, Single, wait_for};

type Test = anyhow::Result<()>;

fn contains(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text:?} lacks {expected:?}");
}

/// A folder with a compose file, and the daemon it is played on.
struct Project<'a> {
    host: &'a Single,
    folder: PathBuf,
}

impl<'a> Project<'a> {
    fn new(host: &'a Single, name: &str, file: &str) -> anyhow::Result<Self> {
        let folder = host.daemon.host().folder().join(name);
        fs::create_dir_all(&folder)?;
        let project = Self { host, folder };
        project.write(file)?;
        Ok(project)
    }

    fn write(&self, file: &str) -> Test {
        Ok(fs::write(self.folder.join("compose.yaml"), file)?)
    }

    /// `docker compose LINE`, however it ends.
    fn line(&self, line: &str) -> anyhow::Result<Finished> {
        self.words(&line.split(' ').collect::<Vec<_>>())
    }

    fn words(&self, words: &[&str]) -> anyhow::Result<Finished> {
        let mut command = self.host.daemon.client_command(Programs::compose()?);
        command
            .args(["--ansi", "never", "--progress", "plain"])
            .args(words);
        command.current_dir(&self.folder);
        self.host.daemon.host().run_command(command, &[])
    }

    fn ok(&self, line: &str) -> anyhow::Result<String> {
        self.line(line)?.ok()
    }

    /// What a published port answers on the host.
    fn page(&self, port: &str) -> anyhow::Result<String> {
        let url = format!("http://127.0.0.1:{port}/");
        let busybox = Programs::peer("busybox")?;
        let host = self.host.daemon.host();
        wait_for(&url, Duration::from_secs(20), || {
            host.run(&busybox, &["wget", "-qO-", "-T", "3", &url])?.ok()
        })
    }

    /// Containers of a service that run.
    fn running(&self, service: &str) -> anyhow::Result<usize> {
        Ok(self.ok(&format!("ps -q {service}"))?.lines().count())
    }
}

/// The tutorial's blog: a database with a volume, and what is published in front of it.
const BLOG: &str = r#"
services:
  db:
    image: mysql:5.7
    command: sh -c 'echo rows >> /var/lib/mysql/table; exec httpd -f -p 3306 -h /var/lib/mysql'
    volumes:
      - db_data:/var/lib/mysql
    restart: always
    environment:
      MYSQL_DATABASE: wordpress
      MYSQL_PASSWORD: secret
  wordpress:
    depends_on:
      - db
    image: wordpress:latest
    command: sh -c 'echo "$$WORDPRESS_DB_HOST" > /var/www/index.html; exec httpd -f -p 80 -h /var/www'
    ports:
      - "8000:80"
    restart: always
    environment:
      WORDPRESS_DB_HOST: db:3306
volumes:
  db_data: {}
"#;

#[test]
fn the_tutorials_blog_comes_up_is_looked_at_and_goes_with_its_volume() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    docker.ok("tag busybox mysql:5.7")?;
    docker.ok("tag busybox wordpress:latest")?;
    let blog = Project::new(&host, "blog", BLOG)?;
    let up = blog.line("up -d")?;
    assert_eq!(up.code, 0, "{up:?}");
    assert_eq!((blog.running("db")?, blog.running("wordpress")?), (1, 1));
    let table = blog.ok("ps")?;
    contains(&table, "blog-db-1");
    contains(&table, "0.0.0.0:8000->80/tcp");
    // Names resolve between services, and the port leads in from the host.
    assert_eq!(blog.page("8000")?, "db:3306");
    wait_for("the table", Duration::from_secs(20), || {
        let answer = blog
            .words(&[
                "exec",
                "-T",
                "wordpress",
                "wget",
                "-qO-",
                "-T",
                "3",
                "http://db:3306/table",
            ])?
            .ok()?;
        anyhow::ensure!(answer == "rows", "{answer}");
        Ok(())
    })?;
    assert_eq!(blog.ok("exec -T db cat /var/lib/mysql/table")?, "rows");
    assert_eq!(docker.ok("volume ls -q")?, "blog_db_data");
    assert_eq!(
        docker
            .ok("network ls -q --filter name=blog_default")?
            .lines()
            .count(),
        1
    );
    // Nothing changed: nothing is made anew.
    let before = blog.ok("ps -q db")?;
    blog.ok("up -d")?;
    assert_eq!(blog.ok("ps -q db")?, before);
    for (line, running) in [("stop", 0), ("start", 1), ("restart -t 1", 1)] {
        let done = blog.line(line)?;
        assert_eq!(done.code, 0, "{line}: {done:?}");
        assert_eq!(blog.running("wordpress")?, running, "{line}");
    }
    contains(&blog.ok("config --services")?, "wordpress");
    contains(&blog.ok("images")?, "mysql");
    contains(&blog.ok("ls")?, "running(2)");
    // Without -v the volume stays, and the next database finds it.
    blog.ok("down -t 1")?;
    assert_eq!(
        (docker.ok("ps -aq")?.as_str(), docker.ok("volume ls -q")?.as_str()),
        ("", "blog_db_data")
    );
    assert_eq!(docker.ok("network ls -q --filter name=blog_default")?, "");
    blog.ok("up -d")?;
    let rows = blog
        .words(&[
            "exec",
            "-T",
            "db",
            "sh",
            "-c",
            "grep -c rows /var/lib/mysql/table",
        ])?
        .ok()?;
    assert!(rows.parse::<u32>()? >= 3, "a row for each start: {rows}");
    blog.ok("down -v -t 1")?;
    assert_eq!(docker.ok("volume ls -q")?, "");
    Ok(())
}

const WEB: &str = r#"
services:
  web:
    image: busybox
    command: sh -c 'hostname > /var/www/index.html; exec httpd -f -p 80 -h /var/www'
    ports:
      - "80"
    environment:
      COLOUR: red
    stop_grace_period: 1s
  client:
    image: busybox
    command: sh -c 'while true; do echo tick; sleep 1; done'
    depends_on: [web]
    stop_grace_period: 1s
  tools:
    image: busybox
    profiles: [debug]
    command: sleep 600
    stop_grace_period: 1s
"#;

#[test]
fn services_are_scaled_followed_and_made_anew_when_they_change() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    let project = Project::new(&host, "web", WEB)?;
    let up = project.line("up -d --scale web=3")?;
    assert_eq!(up.code, 0, "{up:?}");
    assert_eq!(
        (project.running("web")?, project.running("tools")?),
        (3, 0),
        "a profile's service waits"
    );
    // A random port for each replica, and a name for all.
    let mut ports: Vec<String> = Vec::new();
    for index in 1..=3 {
        ports.push(project.ok(&format!("port --index {index} web 80"))?);
    }
    ports.sort();
    ports.dedup();
    assert_eq!(ports.len(), 3, "{ports:?}");
    for port in &ports {
        let port = port.rsplit(':').next().unwrap_or_default();
        project.page(port)?;
    }
    let names = project.words(&["exec", "-T", "client", "nslookup", "web"])?;
    assert_eq!(names.stdout.matches("Address: 172.").count(), 3, "{names:?}");
    // Logs are followed until the services end.
    let mut follow = docker.client_command(Programs::compose()?);
    follow
        .args(["--ansi", "never", "logs", "-f", "--no-log-prefix", "client"])
        .current_dir(&project.folder);
    let followed = docker.host().start("logs", follow)?;
    wait_for("lines to be followed", Duration::from_secs(20), || {
        let lines = followed.log().matches("tick").count();
        anyhow::ensure!(lines >= 3, "{lines} so far");
        Ok(())
    })?;
    contains(&project.ok("logs --tail 1 client")?, "client-1  | tick");
    project.ok("up -d --scale web=1")?;
    assert_eq!(project.running("web")?, 1);
    // What changed is made anew, what did not stays.
    let (web, client) = (project.ok("ps -q web")?, project.ok("ps -q client")?);
    project.write(&WEB.replace("red", "blue"))?;
    project.ok("up -d")?;
    assert_ne!(project.ok("ps -q web")?, web);
    assert_eq!(
        project
            .words(&["exec", "-T", "web", "sh", "-c", "echo $COLOUR"])?
            .ok()?,
        "blue"
    );
    let _ = client;
    project.ok("--profile debug up -d")?;
    assert_eq!(project.running("tools")?, 1);
    contains(&project.ok("top web")?, "httpd");
    project.ok("pause web")?;
    contains(&project.ok("ps -a")?, "Paused");
    project.ok("unpause web")?;
    project.ok("kill client")?;
    assert_eq!(
        project
            .words(&["run", "--rm", "-T", "client", "echo", "once"])?
            .ok()?,
        "once"
    );
    project.ok("rm -f client")?;
    project.ok("--profile debug down -v")?;
    assert_eq!(docker.ok("ps -aq")?, "");
    Ok(())
}

const HEALTH: &str = r#"
services:
  db:
    image: busybox
    command: sh -c 'sleep 2; touch /ready; exec sleep 600'
    stop_grace_period: 1s
    healthcheck:
      test: ["CMD", "test", "-e", "/ready"]
      interval: 1s
      timeout: 5s
      retries: 30
  job:
    image: busybox
    command: echo done
  web:
    image: busybox
    command: sleep 600
    stop_grace_period: 1s
    depends_on:
      db:
        condition: service_healthy
      job:
        condition: service_completed_successfully
"#;

#[test]
fn who_depends_on_a_healthy_service_waits_for_its_health() -> Test {
    let host = Single::start(&[])?;
    let docker = &host.daemon;
    let project = Project::new(&host, "health", HEALTH)?;
    let up = project.line("up -d")?;
    assert_eq!(up.code, 0, "{up:?}");
    let state = [
        "inspect",
        "-f",
        "{{.State.Health.Status}} {{.State.StartedAt}}",
        "health-db-1",
    ];
    contains(&docker.docker(&state)?.ok()?, "healthy");
    let started = |name: &str| docker.ok(&format!("inspect -f {{{{.State.StartedAt}}}} {name}"));
    assert!(started("health-web-1")? > started("health-db-1")?);
    contains(
        &docker.ok("ps --format {{.Status}} -f name=health-db-1")?,
        "(healthy)",
    );
    project.ok("down -v")?;
    Ok(())
}
