//! What goes in and out.

use futures::StreamExt as _;
use runtime::{
    Attach,
    logs::{LogQuery, read},
};
use tokio::{io::AsyncWriteExt as _, sync::watch};

use super::lab::{Io, OUTPUT, frames, read_all, read_until, script, unframed, with_lab};

const ALL: Attach = Attach {
    stdin: true,
    stdout: true,
    stderr: true,
};

#[test]
fn output_and_errors_are_told_apart() {
    with_lab(async |lab| {
        let container = lab.open(script("echo out; echo err >&2"), Io::default()).await;
        let both = container.shim.attach(OUTPUT).await.unwrap();
        let one = container
            .shim
            .attach(Attach {
                stderr: true,
                ..Attach::default()
            })
            .await
            .unwrap();
        container.start().await;
        let bytes = read_all(both.output).await;
        let mut got = frames(&bytes);
        got.sort();
        assert_eq!(got, [(1, b"out\n".as_slice()), (2, b"err\n")]);
        assert_eq!(frames(&read_all(one.output).await), [(2, b"err\n".as_slice())]);
        container.shim.wait().await.unwrap();

        let (_ended, ended) = watch::channel(true);
        let log = runtime::LogConfig::file(container.dir.join("log"));
        let lines: Vec<_> = read(&log, LogQuery::default(), ended).collect().await;
        let mut lines: Vec<_> = lines.into_iter().map(Result::unwrap).collect();
        lines.sort();
        assert_eq!(
            lines,
            [&b"\x01\0\0\0\0\0\0\x04out\n"[..], b"\x02\0\0\0\0\0\0\x04err\n"]
        );
        container.end().await;
    });
}

#[test]
fn who_attaches_before_the_start_misses_nothing_of_ten_megabytes() {
    with_lab(async |lab| {
        let script = script("yes 0123456789abcdef | head -c 10485760");
        let container = lab.open(script, Io::default()).await;
        let (first, second) = (
            container.shim.attach(OUTPUT).await.unwrap(),
            container.shim.attach(OUTPUT).await.unwrap(),
        );
        container.start().await;
        let (first, second) = tokio::join!(read_all(first.output), read_all(second.output));
        let expected = "0123456789abcdef\n".repeat(700_000)[..10 << 20].to_owned();
        assert!(unframed(&first) == expected && unframed(&second) == expected);
        container.shim.wait().await.unwrap();
        let log = std::fs::read_to_string(container.dir.join("log")).unwrap();
        assert_eq!(log.lines().count(), (10usize << 20).div_ceil(17));
        container.end().await;
    });
}

#[test]
fn input_reaches_the_command_and_its_end_too() {
    with_lab(async |lab| {
        let container = lab
            .open(
                script("cat; echo done"),
                Io {
                    stdin: true,
                    ..Io::default()
                },
            )
            .await;
        let streams = container.shim.attach(ALL).await.unwrap();
        let mut input = streams.input;
        input.write_all(b"before ").await.unwrap();
        container.start().await;
        let large = "x".repeat(1 << 20);
        let writing = async {
            input.write_all(large.as_bytes()).await.unwrap();
            input.shutdown().await.unwrap();
        };
        let ((), bytes) = tokio::join!(writing, read_all(streams.output));
        assert!(unframed(&bytes) == format!("before {large}done\n"));
        assert_eq!(container.shim.wait().await.unwrap().code, 0);
        container.end().await;
    });
}

#[test]
fn without_an_input_reads_meet_the_end() {
    with_lab(async |lab| {
        assert_eq!(
            lab.run(Default::default(), "cat; echo $?").await,
            (0, "0\n".to_owned())
        );
    });
}

#[test]
fn a_terminal_is_one_echoes_and_has_the_size_it_is_given() {
    with_lab(async |lab| {
        let io = Io {
            tty: true,
            stdin: true,
        };
        let script = script(
            "tty; stty size; read x; echo got $x; trap 'stty size; exit 5' WINCH; echo ready; while :; do sleep 0.01; done",
        );
        let container = lab.open(script, io).await;
        let mut streams = container.shim.attach(ALL).await.unwrap();
        container.shim.resize(33, 77).await.unwrap();
        container.start().await;
        let begun = read_until(&mut streams, "33 77").await;
        assert!(
            begun.contains("/dev/pts/0") || begun.contains("/dev/console"),
            "{begun:?}"
        );
        streams.input.write_all(b"hello\n").await.unwrap();
        read_until(&mut streams, "ready").await;
        container.shim.resize(44, 88).await.unwrap();
        read_until(&mut streams, "44 88").await;
        assert!(read_all(streams.output).await.is_empty());
        assert_eq!(container.shim.wait().await.unwrap().code, 5);
        container.end().await;
    });
}

#[test]
fn the_last_words_on_a_terminal_are_heard() {
    with_lab(async |lab| {
        for _ in 0..5 {
            let container = lab
                .open(
                    script("seq 1 2000"),
                    Io {
                        tty: true,
                        stdin: false,
                    },
                )
                .await;
            let streams = container.shim.attach(OUTPUT).await.unwrap();
            container.start().await;
            let text = String::from_utf8(read_all(streams.output).await).unwrap();
            assert!(
                text.ends_with("1999\r\n2000\r\n"),
                "{:?}",
                &text[text.len().saturating_sub(40)..]
            );
            container.end().await;
        }
    });
}

#[test]
fn several_clients_share_a_terminal_and_one_leaving_disturbs_nobody() {
    with_lab(async |lab| {
        let io = Io {
            tty: true,
            stdin: true,
        };
        let container = lab
            .open(script("read a; echo one:$a; read b; echo two:$b"), io)
            .await;
        let (mut left, mut right) = (
            container.shim.attach(ALL).await.unwrap(),
            container.shim.attach(ALL).await.unwrap(),
        );
        container.start().await;
        left.input.write_all(b"x\n").await.unwrap();
        read_until(&mut left, "one:x").await;
        read_until(&mut right, "one:x").await;
        drop(left);
        right.input.write_all(b"y\n").await.unwrap();
        read_until(&mut right, "two:y").await;
        assert_eq!(container.shim.wait().await.unwrap().code, 0);
        container.end().await;
    });
}
