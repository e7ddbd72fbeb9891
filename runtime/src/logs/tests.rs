use std::{fs, io::Write as _, path::Path, time::Duration};

use futures::StreamExt as _;

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
    let first = files::batch(&mut files::open(&path).unwrap().remove(0), &plain()).unwrap();
    assert!(first.full && first.items.len() < 300, "{}", first.items.len());
    let whole = all(&LogConfig::file(path), plain()).await;
    assert_eq!(whole.len(), 2000);
    for (number, line) in whole.iter().enumerate() {
        assert!(line.starts_with(&format!("{number} ")), "{line:.20}");
    }
}
