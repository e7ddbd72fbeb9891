//! Other processes in a running container.

use runtime::{Attach, spec::exec::ExecConfig};
use tokio::io::AsyncWriteExt as _;

use super::lab::{Io, command, read_all, read_until, shell, unframed, with_lab};

fn exec(script: &str) -> ExecConfig {
    ExecConfig {
        cmd: shell(script),
        ..Default::default()
    }
}

#[test]
fn an_exec_is_in_the_container_and_has_its_own_end() {
    with_lab(async |lab| {
        let container = lab.open(command("sleep 1000"), Io::default()).await;
        container.start().await;
        let (exit, output) = container
            .exec_to_end(exec("hostname; echo err >&2; exit 9"))
            .await;
        assert_eq!((exit.code, output.as_str()), (9, "box\nerr\n"));
        let (_, output) = container
            .exec_to_end(exec("echo $PPID; ps | grep -c 'sleep 1000'"))
            .await;
        assert_eq!(output.lines().next(), Some("0"), "its parent is outside");
        let as_user = ExecConfig {
            user: "web".into(),
            working_dir: "/tmp".into(),
            env: vec!["A=b".into()],
            ..exec("id -u; id -G; pwd; echo $A $HOME; echo x > /dev/stdout")
        };
        let (_, output) = container.exec_to_end(as_user).await;
        assert_eq!(output, "33\n33 29\n/tmp\nb /home/web\nx\n");
        container.end().await;
    });
}

#[test]
fn an_exec_is_confined_like_the_container_unless_privileged() {
    with_lab(async |lab| {
        let container = lab.open(command("sleep 1000"), Io::default()).await;
        container.start().await;
        let inside = "grep -E 'CapEff|Seccomp:' /proc/self/status | tr -s '\\t\\n' '  '; cat /proc/1/status | grep -E 'CapEff|Seccomp:' | tr -s '\\t\\n' '  '";
        let (_, output) = container.exec_to_end(exec(inside)).await;
        assert_eq!(output, "CapEff: 00000000a80425fb Seccomp: 2 ".repeat(2));
        let (exit, _) = container.exec_to_end(exec("unshare -U true 2>/dev/null")).await;
        assert_ne!(exit.code, 0);
        let (exit, output) = container
            .exec_to_end(ExecConfig {
                privileged: true,
                ..exec("mount -t tmpfs none /tmp && echo mounted")
            })
            .await;
        assert_eq!((exit.code, output.as_str()), (0, "mounted\n"));
        container.end().await;
    });
}

#[test]
fn an_exec_that_can_not_be_run_is_126_or_127_and_the_container_goes_on() {
    with_lab(async |lab| {
        let container = lab.open(command("sleep 1000"), Io::default()).await;
        container.start().await;
        for (name, code, message) in [
            (
                "nonesuch",
                127,
                r#"exec: "nonesuch": executable file not found in $PATH"#,
            ),
            ("/bin/plain", 126, r#"exec: "/bin/plain": permission denied"#),
            ("/bin/garbage", 126, "exec /bin/garbage: exec format error"),
        ] {
            let config = ExecConfig {
                cmd: vec![name.into()],
                ..Default::default()
            };
            let exec = container.exec(config, false).await;
            let error = exec.start().await.unwrap_err();
            assert_eq!(
                (error.exit_code(), error.to_string().as_str()),
                (Some(code), message)
            );
        }
        let nowhere = container
            .exec(
                ExecConfig {
                    working_dir: "/nowhere".into(),
                    ..exec("true")
                },
                false,
            )
            .await;
        let error = nowhere.start().await.unwrap_err();
        let message = r#"chdir to cwd ("/nowhere") set in config.json failed: no such file or directory"#;
        assert_eq!(
            (error.exit_code(), error.to_string().as_str()),
            (Some(127), message)
        );
        assert!(
            container
                .shim
                .registered("unheard-of")
                .start()
                .await
                .unwrap_err()
                .is_not_running()
        );
        assert_eq!(container.exec_to_end(exec("true")).await.0.code, 0);
        container.end().await;
    });
}

#[test]
fn an_exec_has_its_own_terminal_and_input() {
    with_lab(async |lab| {
        let container = lab.open(command("sleep 1000"), Io::default()).await;
        container.start().await;
        let all = Attach {
            stdin: true,
            stdout: true,
            stderr: true,
        };
        let with_terminal = container
            .exec(
                ExecConfig {
                    tty: true,
                    ..exec("stty size; echo $TERM; read x; echo $x$x; exit 3")
                },
                true,
            )
            .await;
        let mut streams = with_terminal.attach(all).await.unwrap();
        with_terminal.resize(10, 20).await.unwrap();
        with_terminal.start().await.unwrap();
        read_until(&mut streams, "xterm").await;
        streams.input.write_all(b"ab\n").await.unwrap();
        read_until(&mut streams, "abab").await;
        assert_eq!(with_terminal.wait().await.unwrap().code, 3);

        let with_input = container.exec(exec("cat"), true).await;
        let mut streams = with_input.attach(all).await.unwrap();
        with_input.start().await.unwrap();
        streams.input.write_all(b"through").await.unwrap();
        streams.input.shutdown().await.unwrap();
        assert_eq!(unframed(&read_all(streams.output).await), "through");
        assert_eq!(with_input.wait().await.unwrap().code, 0);
        let state = with_input.inspect().await.unwrap();
        assert_eq!(state.exit.map(|exit| exit.code), Some(0));
        container.end().await;
    });
}

#[test]
fn an_exec_that_leaves_something_running_ends_all_the_same() {
    with_lab(async |lab| {
        let container = lab.open(command("sleep 1000"), Io::default()).await;
        container.start().await;
        let (exit, output) = container.exec_to_end(exec("sleep 500 & echo left")).await;
        assert_eq!((exit.code, output.as_str()), (0, "left\n"));
        container.end().await;
    });
}

#[test]
fn a_paused_container_stands_still_and_can_be_killed() {
    with_lab(async |lab| {
        let container = lab.open(command("sleep 1000"), Io::default()).await;
        container.start().await;
        container.shim.pause().await.unwrap();
        assert_eq!(
            container.shim.state().await.unwrap().status,
            runtime::Status::Paused
        );
        assert!(container.shim.pause().await.is_err());
        container.shim.resume().await.unwrap();
        assert_eq!(container.exec_to_end(exec("echo on")).await.1, "on\n");
        container.shim.pause().await.unwrap();
        container.shim.kill(9).await.unwrap();
        assert_eq!(container.shim.wait().await.unwrap().code, 137);
        container.end().await;
    });
}
