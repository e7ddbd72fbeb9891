use std::{fs, io::Write as _, path::Path, time::Duration};

use futures::StreamExt as _;
use shim_protocol::packed;

use super::*;

fn line(text: &str) -> String {
    format!("{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05Z\"}}\n")
}

fn append(path: &Path, text: &str) {
    fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap()
        .write_all(line(text).as_bytes())
        .unwrap();
}

fn plain() -> LogQuery {
    LogQuery {
        framed: false,
        ..Default::default()
    }
}

async fn all(log: &LogConfig, query: LogQuery) -> Vec<String> {
    let (_ended, wait) = watch::channel(true);
    read(log, query, wait)
        .map(|item| String::from_utf8(item.unwrap().to_vec()).unwrap())
        .collect()
        .await
}

#[tokio::test]
async fn rotated_files_are_read_oldest_first_and_the_tail_counts_over_all() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogConfig::file(dir.path().join("log"));
    assert!(all(&log, plain()).await.is_empty(), "no log yet");
    for (file, text) in [("log.2", "a"), ("log.1", "b"), ("log", "c")] {
        append(&dir.path().join(file), text);
    }
    assert_eq!(all(&log, plain()).await, ["a\n", "b\n", "c\n"]);
    assert_eq!(
        all(
            &log,
            LogQuery {
                tail: Some(2),
                ..plain()
            }
        )
        .await,
        ["b\n", "c\n"]
    );
    assert!(
        all(
            &log,
            LogQuery {
                tail: Some(0),
                ..plain()
            }
        )
        .await
        .is_empty()
    );
}

#[tokio::test]
async fn following_sees_what_is_written_and_rotated_until_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    append(&path, "old");
    let (end, ended) = watch::channel(false);
    let query = LogQuery {
        follow: true,
        tail: Some(0),
        ..plain()
    };
    let mut lines = read(&LogConfig::file(path.clone()), query, ended);
    let mut next = async || {
        let item = tokio::time::timeout(Duration::from_secs(10), lines.next())
            .await
            .expect("in time");
        item.map(|item| String::from_utf8(item.unwrap().to_vec()).unwrap())
    };
    append(&path, "one");
    // Whatever was there when reading began belongs to the tail, so this is repeated until it is seen.
    let seen = tokio::select! { seen = next() => seen, () = async { loop { tokio::task::yield_now().await; append(&path, "one") } } => unreachable!() };
    assert_eq!(seen.as_deref(), Some("one\n"));
    append(&path, "two");
    while next().await.as_deref() != Some("two\n") {}
    fs::rename(&path, dir.path().join("log.1")).unwrap();
    append(&path, "three");
    assert_eq!(next().await.as_deref(), Some("three\n"));
    append(&path, "four");
    end.send(true).unwrap();
    assert_eq!(next().await.as_deref(), Some("four\n"));
    assert_eq!(next().await, None);
}

#[tokio::test]
async fn a_large_log_is_read_whole_and_a_piece_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let text = "x".repeat(1000);
    fs::write(
        &path,
        (0..2000)
            .map(|number| line(&format!("{number} {text}")))
            .collect::<String>(),
    )
    .unwrap();
    let first = files::open(&path).unwrap().remove(0).batch(&plain()).unwrap();
    assert!(first.full && first.items.len() < 300, "{}", first.items.len());
    let whole = all(&LogConfig::file(path), plain()).await;
    assert_eq!(whole.len(), 2000);
    for (number, line) in whole.iter().enumerate() {
        assert!(line.starts_with(&format!("{number} ")), "{line:.20}");
    }
}

/// Turns files as the shim does, a rename at a time.
fn turn(path: &Path, kept: u32) {
    let _ = fs::remove_file(packed::file(path, kept, false));
    for age in (0..kept).rev() {
        let _ = fs::rename(packed::file(path, age, false), packed::file(path, age + 1, false));
    }
}

fn pack(path: &Path, age: u32) {
    let plain = packed::file(path, age, false);
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&plain).unwrap());
    let to = fs::File::create(packed::file(path, age, true)).unwrap();
    let mut packer = flate2::GzBuilder::new()
        .comment(packed::comment(inode))
        .write(to, flate2::Compression::fast());
    packer.write_all(&fs::read(&plain).unwrap()).unwrap();
    packer.finish().unwrap();
    fs::remove_file(plain).unwrap();
}

#[tokio::test]
async fn the_last_lines_are_of_packed_files_too_whatever_is_filtered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let of_error = |text: &str| line(text).replace("stdout", "stderr");
    let [oldest, older] = [2, 1].map(|age| packed::file(&path, age, false));
    fs::write(&oldest, [line("0"), line("1"), line("2"), of_error("e")].concat()).unwrap();
    fs::write(&older, [of_error("e"), line("3"), of_error("e")].concat()).unwrap();
    fs::write(
        &path,
        [line("4"), of_error("e"), "{\"unfinished".to_owned()].concat(),
    )
    .unwrap();
    pack(&path, 2);
    for is_packed in [false, true] {
        if is_packed {
            pack(&path, 1);
        }
        for tail in 0..=7 {
            let query = LogQuery {
                tail: Some(tail),
                stderr: false,
                ..plain()
            };
            let shown = all(&LogConfig::file(path.clone()), query).await;
            let expected: Vec<_> = (5_usize.saturating_sub(tail)..5)
                .map(|number| format!("{number}\n"))
                .collect();
            assert_eq!(shown, expected, "{tail} {is_packed}");
        }
    }
}

async fn next(lines: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin)) -> Option<String> {
    let item = tokio::time::timeout(Duration::from_secs(30), lines.next())
        .await
        .expect("in time");
    item.map(|item| String::from_utf8(item.unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn a_reader_that_files_were_turned_away_from_misses_and_repeats_nothing() {
    for packing in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        append(&path, "0");
        let (end, ended) = watch::channel(false);
        let query = LogQuery {
            follow: true,
            ..plain()
        };
        let mut lines = read(&LogConfig::file(path.clone()), query, ended);
        assert_eq!(next(&mut lines).await.as_deref(), Some("0\n"));
        // On this one thread nobody reads meanwhile: more is written to the file that was read, and it is turned
        // several times at once.
        for number in 1..=3 {
            append(&path, &format!("{number}a"));
            turn(&path, 4);
            if packing {
                pack(&path, 1);
                for age in (1..4).rev() {
                    let _ = fs::rename(packed::file(&path, age, true), packed::file(&path, age + 1, true));
                }
            }
            append(&path, &format!("{number}b"));
        }
        end.send(true).unwrap();
        let rest: Vec<String> = lines
            .map(|item| String::from_utf8(item.unwrap().to_vec()).unwrap())
            .collect()
            .await;
        let all = ["1a\n", "1b\n", "2a\n", "2b\n", "3a\n", "3b\n"];
        assert_eq!(rest, all, "packing: {packing}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_begins_to_read_while_files_are_turned_has_every_line_once() {
    const LINES: u32 = 3000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let writer = {
        let path = path.clone();
        std::thread::spawn(move || {
            for number in 0..LINES {
                append(&path, &number.to_string());
                if number % 100 == 99 {
                    turn(&path, LINES);
                }
            }
        })
    };
    let mut readers = Vec::new();
    let (end, ended) = watch::channel(false);
    while !writer.is_finished() {
        let query = LogQuery {
            follow: true,
            ..plain()
        };
        let lines = read(&LogConfig::file(path.clone()), query, ended.clone());
        readers.push(tokio::spawn(
            lines
                .map(|item| String::from_utf8(item.unwrap().to_vec()).unwrap())
                .collect::<Vec<_>>(),
        ));
        tokio::task::yield_now().await;
        if readers.len() > 20 {
            break;
        }
    }
    writer.join().unwrap();
    end.send(true).unwrap();
    let whole: Vec<String> = (0..LINES).map(|number| format!("{number}\n")).collect();
    for reader in readers {
        let read = reader.await.unwrap();
        let wrong = read
            .iter()
            .zip(&whole)
            .position(|(read, written)| read != written);
        assert_eq!((wrong.map(|at| (at, &read[at])), read.len()), (None, whole.len()));
    }
}
