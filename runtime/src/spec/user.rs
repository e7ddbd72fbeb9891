//! As whom a process runs: names looked up in the image's own passwd and group, never in the host's.

use std::path::Path;

use super::SpecError;
use crate::{Result, rootfs};

/// As whom a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Further groups, the first one included.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: String,
}

impl User {
    /// Root, in an image that says nothing about it.
    pub fn root() -> Self {
        Self {
            uid: 0,
            gid: 0,
            groups: vec![0],
            home: "/root".to_owned(),
        }
    }
}

/// Finds a user (`name`, `uid`, `name:group`, `uid:gid`; empty for root) and further groups in a mounted root, or
/// in a running container's as seen through `/proc/PID/root`.
///
/// # Errors
/// For a name that is not there; those of reading the files.
pub fn resolve(root: &Path, user: &str, further: &[String]) -> Result<User> {
    let passwd = rootfs::read_file(root, Path::new("etc/passwd"))?.unwrap_or_default();
    let group = rootfs::read_file(root, Path::new("etc/group"))?.unwrap_or_default();
    Ok(find(user, further, &passwd, &group)?)
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, uid, gid) = (
            fields.next()?,
            fields.nth(1)?.parse().ok()?,
            fields.next()?.parse().ok()?,
        );
        Some(Account {
            name,
            uid,
            gid,
            home: fields.nth(1).unwrap_or("/"),
        })
    })
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, gid) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        Some(Group {
            name,
            gid,
            members: fields.next().unwrap_or_default(),
        })
    })
}

fn find(user: &str, further: &[String], passwd: &str, group: &str) -> std::result::Result<User, SpecError> {
    let (name, group_name) = user.split_once(':').unwrap_or((user, ""));
    let name = if name.is_empty() { "0" } else { name };
    // A name wins over a number: an account may be called 1000.
    let account = accounts(passwd).find(|one| one.name == name);
    let account = account.or_else(|| accounts(passwd).find(|one| Ok(one.uid) == name.parse()));
    let uid = match &account {
        Some(account) => account.uid,
        None => id(name)?.ok_or_else(|| SpecError::NoUser(name.to_owned()))?,
    };
    let gid = match (group_name, &account) {
        ("", account) => account.as_ref().map_or(0, |account| account.gid),
        (wanted, _) => find_group(wanted, group)?,
    };
    let mut all = vec![gid];
    if let ("", Some(account)) = (group_name, &account) {
        let member = |one: &Group<'_>| one.members.split(',').any(|member| member == account.name);
        all.extend(groups(group).filter(member).map(|one| one.gid));
    }
    for wanted in further {
        all.push(find_group(wanted, group)?);
    }
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|gid| seen.insert(*gid));
    let home = account
        .map(|account| account.home)
        .filter(|home| !home.is_empty())
        .unwrap_or("/");
    Ok(User {
        uid,
        gid,
        groups: all,
        home: home.to_owned(),
    })
}

fn find_group(wanted: &str, group: &str) -> std::result::Result<u32, SpecError> {
    if let Some(found) = groups(group).find(|one| one.name == wanted) {
        return Ok(found.gid);
    }
    id(wanted)?.ok_or_else(|| SpecError::NoGroup(wanted.to_owned()))
}

/// A number as an id; none if it is no number.
fn id(text: &str) -> std::result::Result<Option<u32>, SpecError> {
    match text.parse::<i64>() {
        Ok(number) => match i32::try_from(number)
            .ok()
            .and_then(|number| u32::try_from(number).ok())
        {
            Some(number) => Ok(Some(number)),
            None => Err(SpecError::IdRange),
        },
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/srv:/bin/false\n1000:x:7:7::/seven:\nbroken\n";
    const GROUP: &str = "root:x:0:\nweb:x:33:\nwheel:x:10:root,web\naudio:x:29:web\n";

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let user = |uid, gid, groups: &[u32], home: &str| User {
            uid,
            gid,
            groups: groups.to_vec(),
            home: home.into(),
        };
        let table = [
            ("nobody_said", "", Ok(user(0, 0, &[0, 10], "/root"))),
            ("by_name", "web", Ok(user(33, 33, &[33, 10, 29], "/srv"))),
            ("by_number", "33", Ok(user(33, 33, &[33, 10, 29], "/srv"))),
            ("a_number_nobody_has", "4242", Ok(user(4242, 0, &[0], "/"))),
            ("a_name_that_is_a_number", "1000", Ok(user(7, 7, &[7], "/seven"))),
            (
                "with_a_group_no_others_count",
                "web:wheel",
                Ok(user(33, 10, &[10], "/srv")),
            ),
            ("with_a_group_by_number", "5:6", Ok(user(5, 6, &[6], "/"))),
            ("an_unknown_name", "ghost", Err(SpecError::NoUser("ghost".into()))),
            (
                "an_unknown_group",
                "web:ghosts",
                Err(SpecError::NoGroup("ghosts".into())),
            ),
            ("a_negative_number", "-1", Err(SpecError::IdRange)),
            ("too_large_a_number", "2147483648", Err(SpecError::IdRange)),
        ];
        for (name, text, expected) in table {
            assert_eq!(find(text, &[], PASSWD, GROUP), expected, "{name}");
        }
    }

    #[test]
    fn further_groups_are_added_once() {
        let user = find("web", &["audio".into(), "5".into()], PASSWD, GROUP).unwrap();
        assert_eq!(user.groups, [33, 10, 29, 5]);
    }
}
