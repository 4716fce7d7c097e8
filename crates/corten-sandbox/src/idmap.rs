//! Which ids of a user namespace stand for which ids outside, and how an ordinary user gets more
//! than one: by `newuidmap` and `newgidmap`, from `/etc/subuid` and `/etc/subgid`.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::Error;

/// A run of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapRange {
    /// The first id inside the namespace.
    pub inside: u32,
    /// The id outside that it stands for.
    pub outside: u32,
    /// How many ids follow one another, both inside and outside.
    pub count: u32,
}

/// All ids of a user namespace. Files of any other id are inaccessible in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    /// User ids.
    pub uids: Vec<MapRange>,
    /// Group ids.
    pub gids: Vec<MapRange>,
}

impl IdMap {
    /// Makes the field's usual map for this process' user: itself as root, and its subordinate ids
    /// from 1 on.
    ///
    /// Ranges come from the local files only; a directory service's are not asked for.
    pub fn for_this_user() -> Result<Self, Error> {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let name = name_of(uid, &read("/etc/passwd")).unwrap_or_else(|| uid.to_string());
        let uids = ranges("/etc/subuid", &name, uid, uid)?;
        let gids = ranges("/etc/subgid", &name, uid, gid)?;
        Ok(Self { uids, gids })
    }

    /// Makes the map that needs nobody's help: this process' user as root, and no other id.
    pub fn only_this_user() -> Self {
        let one = |outside| {
            vec![MapRange {
                inside: 0,
                outside,
                count: 1,
            }]
        };
        Self {
            uids: one(rustix::process::geteuid().as_raw()),
            gids: one(rustix::process::getegid().as_raw()),
        }
    }

    /// Returns whether there is one user and one group.
    pub fn is_single(&self) -> bool {
        let is_one = |ranges: &[MapRange]| matches!(ranges, [range] if range.count == 1);
        is_one(&self.uids) && is_one(&self.gids)
    }

    /// Gives the namespace of `pid`, a child of this process that waits for it, these ids.
    pub(crate) fn give_to(&self, pid: i32) -> Result<(), Error> {
        if self.is_single() {
            return self.write_to(pid);
        }
        call("newuidmap", pid, &self.uids)?;
        call("newgidmap", pid, &self.gids)
    }
}

impl IdMap {
    /// The kernel lets everybody map their own id, and the group too once setgroups(2) is given up: who is
    /// kept from a file by a group must not get rid of it (`user_namespaces(7)`).
    fn write_to(&self, pid: i32) -> Result<(), Error> {
        let line = |ranges: &[MapRange]| {
            let lines = ranges.iter();
            let lines = lines.map(|r| format!("{} {} {}\n", r.inside, r.outside, r.count));
            lines.collect::<String>()
        };
        put(pid, "setgroups", "deny")?;
        put(pid, "uid_map", &line(&self.uids))?;
        put(pid, "gid_map", &line(&self.gids))
    }
}

/// Such a file takes everything in one write, and is never made.
fn put(pid: i32, file: &'static str, text: &str) -> Result<(), Error> {
    let path = format!("/proc/{pid}/{file}");
    let opened = std::fs::OpenOptions::new().write(true).open(&path);
    let written = opened.and_then(|mut opened| opened.write_all(text.as_bytes()));
    written.map_err(|error| Error::IdMap {
        tool: file,
        reason: error.to_string(),
    })
}

fn read(path: &str) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn name_of(uid: u32, passwd: &str) -> Option<String> {
    let uid = uid.to_string();
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(uid.as_str())).then(|| name.to_owned())
    })
}

fn ranges(file: &str, name: &str, uid: u32, own: u32) -> Result<Vec<MapRange>, Error> {
    let subordinate = parse(&read(file), name, uid);
    if subordinate.is_empty() {
        return Err(Error::NoSubordinateIds {
            file: file.into(),
            user: name.to_owned(),
        });
    }
    Ok(stack(own, &subordinate))
}

/// Returns `(first, count)` of each range of the user, named by name or number (subuid(5)). Lines
/// that make no sense are left out, as the tools do.
fn parse(text: &str, name: &str, uid: u32) -> Vec<(u32, u32)> {
    let uid = uid.to_string();
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let first: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        first.checked_add(count)?;
        (count > 0 && (owner == name || owner == uid)).then_some((first, count))
    });
    lines.collect()
}

/// Puts `own` at 0 and the ranges one after the other behind it.
fn stack(own: u32, subordinate: &[(u32, u32)]) -> Vec<MapRange> {
    let mut map = vec![MapRange {
        inside: 0,
        outside: own,
        count: 1,
    }];
    let mut inside: u32 = 1;
    for &(outside, count) in subordinate {
        let Some(next) = inside.checked_add(count) else {
            break;
        };
        map.push(MapRange {
            inside,
            outside,
            count,
        });
        inside = next;
    }
    map
}

fn call(tool: &'static str, pid: i32, ranges: &[MapRange]) -> Result<(), Error> {
    let numbers = ranges.iter().flat_map(|r| [r.inside, r.outside, r.count]);
    let output = Command::new(tool)
        .arg(pid.to_string())
        .args(numbers.map(|number| number.to_string()))
        .stdin(Stdio::null())
        .output();
    let reason = match output {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => match String::from_utf8_lossy(&output.stderr).trim() {
            "" => output.status.to_string(),
            message => message.to_owned(),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => "not found in $PATH".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Error::IdMap { tool, reason })
}

/// Returns whether `/proc/self/uid_map` is not that of the machine's first user namespace.
pub fn in_user_namespace() -> bool {
    std::fs::read_to_string(Path::new("/proc/self/uid_map"))
        .is_ok_and(|map| map.split_whitespace().ne(["0", "0", "4294967295"]))
}

/// Returns whether this process' user namespace has one user id or one group id, so that nothing can be
/// given to anybody else.
pub fn has_one_id() -> bool {
    let is_single = |file: &str| is_single_map(&read(file));
    is_single("/proc/self/uid_map") || is_single("/proc/self/gid_map")
}

/// Each line has the first id inside, the first outside, and their number.
fn is_single_map(map: &str) -> bool {
    let count = |line: &str| line.split_whitespace().nth(2)?.parse::<u64>().ok();
    let counts: Vec<u64> = map.lines().filter_map(count).collect();
    counts == [1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(u32, u32)]) {
        assert_eq!(parse(text, "alice", 1000), expected, "{text:?}");
    }

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        check("alice:100000:65536\n", &[(100_000, 65536)]);
        check("bob:1:2\n1000:5:6\nalice:7:8", &[(5, 6), (7, 8)]);
        check("alicex:1:2\n", &[]);
    }

    #[test]
    fn lines_that_make_no_sense_are_left_out() {
        check(
            "alice\nalice:1\nalice:x:2\nalice:1:0\nalice:4294967295:2\n# alice:1:2\n",
            &[],
        );
    }

    #[test]
    fn one_id_is_one() {
        assert!(IdMap::only_this_user().is_single());
        assert!(is_single_map("         0       1000          1\n"));
        assert!(!is_single_map("0 1000 1\n1 100000 65536\n"));
        assert!(!is_single_map("0 0 4294967295\n"));
        assert!(!is_single_map(""));
    }

    #[test]
    fn ranges_follow_one_another_behind_the_user() {
        let map = stack(1000, &[(100_000, 65536), (5, u32::MAX)]);
        let expected =
            [(0, 1000, 1), (1, 100_000, 65536)].map(|(inside, outside, count)| MapRange {
                inside,
                outside,
                count,
            });
        assert_eq!(map, expected);
    }

    #[test]
    fn a_users_name_is_that_of_its_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nalice:x:1000:100::/:/bin/sh\nbroken\n";
        assert_eq!(name_of(1000, passwd).as_deref(), Some("alice"));
        assert_eq!(name_of(1, passwd), None);
    }
}
