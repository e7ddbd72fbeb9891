//! The processes of a container as `ps -ef` shows them, read from `/proc` by their pids on the host.

use std::{fs, os::unix::fs::MetadataExt as _};

/// The columns of `ps -ef`.
pub const TITLES: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];

/// Ticks of a second: USER_HZ is 100 wherever Linux runs.
const HZ: u64 = 100;
const DAY: u64 = 86_400;

/// A row for each process that is still there.
pub fn list(pids: &[i32]) -> Vec<Vec<String>> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted = stat.lines().find_map(|line| line.strip_prefix("btime "));
    let booted = booted
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or_default();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    let row = |pid: &i32| {
        let folder = format!("/proc/{pid}");
        let uid = fs::metadata(&folder).ok()?.uid();
        let stat = fs::read_to_string(format!("{folder}/stat")).ok()?;
        let command = fs::read(format!("{folder}/cmdline")).unwrap_or_default();
        row(&user(&passwd, uid), &stat, &command, booted, now)
    };
    pids.iter().filter_map(row).collect()
}

fn user(passwd: &str, uid: u32) -> String {
    let uid = uid.to_string();
    let named = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    named.unwrap_or(uid)
}

/// `booted` and `now` are seconds since 1970.
fn row(user: &str, stat: &str, command: &[u8], booted: u64, now: u64) -> Option<Vec<String>> {
    let (pid, rest) = stat.split_once(" (")?;
    // A program's name may have parentheses in it.
    let (name, fields) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let used = (number(11)? + number(12)?) / HZ;
    let started = booted + number(19)? / HZ;
    let lived = now.saturating_sub(started).max(1);
    Some(vec![
        user.to_owned(),
        pid.to_owned(),
        (*fields.get(1)?).to_owned(),
        (used * 100 / lived).to_string(),
        moment(started, now),
        terminal(number(4)?),
        format!("{:02}:{:02}:{:02}", used / 3600, used / 60 % 60, used % 60),
        line(name, command),
    ])
}

/// The time of a start today, the day of an earlier one; in UTC.
fn moment(started: u64, now: u64) -> String {
    if started / DAY == now / DAY {
        let seconds = started % DAY;
        return format!("{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    }
    let (month, day) = date(started / DAY);
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    format!("{}{day:02}", MONTHS[month])
}

/// Month (from 0) and day (from 1) of a day since 1970.
fn date(mut days: u64) -> (usize, u64) {
    let leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let mut year = 1970;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    for (month, length) in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        .into_iter()
        .enumerate()
    {
        if days < length {
            return (month, days + 1);
        }
        days -= length;
    }
    (11, 31)
}

/// A pseudo terminal by its number; nothing else is in a container.
fn terminal(device: u64) -> String {
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00);
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        _ => "?".to_owned(),
    }
}

fn line(name: &str, command: &[u8]) -> String {
    let command = command.strip_suffix(&[0]).unwrap_or(command);
    if command.is_empty() {
        return format!("[{name}]");
    }
    let words = command.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_a_row_of_ps() {
        let stat = "42 (odd) name) S 7 42 42 34816 42 0 0 0 0 0 360000 6000 0 0 20 0 1 0 100 0 0";
        let shown = row("root", stat, b"sleep\x00600\x00", 1_000_000, 1_004_000).unwrap();
        assert_eq!(
            shown,
            ["root", "42", "7", "91", "13:46", "pts/0", "01:01:00", "sleep 600"]
        );
        let idle = "43 (kworker) S 2 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 0 0 0";
        let shown = row("0", idle, b"", 951_782_400, 951_900_000).unwrap();
        assert_eq!(shown[4..], ["Feb29", "?", "00:00:00", "[kworker]"]);
    }

    #[test]
    fn we_are_among_the_processes() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let rows = list(&[pid, i32::MAX]);
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].len(), rows[0][1].clone()),
            (TITLES.len(), pid.to_string())
        );
    }
}
