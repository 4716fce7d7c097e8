//! Users and groups of an image, by the tables in its own tree (config.md `User`, CFG-16, CFG-28).
//!
//! The host's tables are never looked at, and links lead nowhere outside the image's root (CNV-23).

use std::collections::HashSet;
use std::fmt;
use std::io::Read;

use crate::{Contents, Error, Kind, Result, Tree};

/// Whom a process of an image runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
    /// Further groups: those of a user who was given by name, without a group (CNV-24, CNV-25).
    pub additional_gids: Vec<u32>,
    /// The home directory that `/etc/passwd` gives the user.
    pub home: Option<String>,
    /// The name that `/etc/passwd` gives the user.
    pub name: Option<String>,
}

/// The ids of who owns a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

/// Why a text names no user of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserProblem {
    /// No line of `/etc/passwd` has the name.
    NoUser(String),
    /// No line of `/etc/group` has the name.
    NoGroup(String),
    /// A number that the kernel takes for "no id", or that is larger.
    TooLarge(String),
    /// There is no user before the colon.
    NoName,
}

impl fmt::Display for UserProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser(name) => {
                write!(f, "the image's `/etc/passwd` has no user called `{name}`")
            }
            Self::NoGroup(name) => {
                write!(f, "the image's `/etc/group` has no group called `{name}`")
            }
            Self::TooLarge(number) => {
                write!(f, "{number} is no id: the largest is {MAX_ID}")
            }
            Self::NoName => f.write_str("there is no user before the colon"),
        }
    }
}

/// Returns the user that `text` names: `user`, `uid`, `user:group`, `uid:gid`, `uid:group` or
/// `user:gid`. The empty text is root (CNV-26).
///
/// Numbers are taken as they are, whether the tables know them or not (CNV-22); the group of a
/// number without one is that of its line in `/etc/passwd`, or else 0.
///
/// # Errors
/// [`Error::User`] if a name is unknown (CNV-27) or a number is no id. A missing table is an empty
/// one.
pub fn resolve_user(tree: &Tree, contents: &dyn Contents, text: &str) -> Result<User> {
    let tables = Tables::read(tree, contents)?;
    tables.user(text).map_err(|problem| Error::User {
        text: text.to_owned(),
        problem,
    })
}

/// As [`resolve_user`], for a command of a build: a number that has a line in `/etc/passwd`, and no user at
/// all, have the groups of the name in it, too, as in `BuildKit`.
///
/// # Errors
/// Those of [`resolve_user`].
pub fn resolve_builder(tree: &Tree, contents: &dyn Contents, text: &str) -> Result<User> {
    let tables = Tables::read(tree, contents)?;
    tables.builder(text).map_err(|problem| Error::User {
        text: text.to_owned(),
        problem,
    })
}

/// Returns the ids that `text` gives files: those of a `--chown`, and directories that a WORKDIR makes for
/// its `USER`. It is `user` or `user:group`, each a name or a number.
///
/// Without a group a number is its own group, and a name has the group of its line in `/etc/passwd`. As in
/// `BuildKit`, `root` is 0 without a look at the tables, a user that is not in them is root, and a group that
/// is not is left to the user: the problems that are returned say so.
///
/// # Errors
/// [`Error::User`] if a number is no id.
pub fn resolve_owner(
    tree: &Tree,
    contents: &dyn Contents,
    text: &str,
) -> Result<(Owner, Vec<UserProblem>)> {
    let tables = Tables::read(tree, contents)?;
    tables.owner(text).map_err(|problem| Error::User {
        text: text.to_owned(),
        problem,
    })
}

/// 2^32 - 1 means "leave it" to chown(2) and setuid(2).
const MAX_ID: u32 = u32::MAX - 1;
/// The largest table that is read, in bytes; real ones have a few KiB.
const MAX_TABLE: u64 = 16 << 20;

/// The two tables of an image.
#[derive(Default)]
struct Tables {
    passwd: Vec<u8>,
    group: Vec<u8>,
}

/// A line of `/etc/passwd`.
struct Account<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// A line of `/etc/group`.
struct Group<'a> {
    name: &'a [u8],
    gid: u32,
    members: &'a [u8],
}

impl Tables {
    fn read(tree: &Tree, contents: &dyn Contents) -> Result<Self> {
        Ok(Self {
            passwd: read_table(tree, contents, b"etc/passwd")?,
            group: read_table(tree, contents, b"etc/group")?,
        })
    }

    fn user(&self, text: &str) -> std::result::Result<User, UserProblem> {
        let (user, group) = split(text)?;
        let user = user.unwrap_or("0");
        let uid = number(user)?;
        let account = match uid {
            Some(uid) => self.accounts().find(|account| account.uid == uid),
            None => Some(self.account(user)?),
        };
        let additional_gids = match (&account, uid, group) {
            (Some(account), None, None) => self.groups_of(account.name),
            _ => Vec::new(),
        };
        let gid = match group {
            Some(group) => self.gid(group)?,
            None => account.as_ref().map_or(0, |account| account.gid),
        };
        Ok(User {
            uid: uid
                .or(account.as_ref().map(|account| account.uid))
                .unwrap_or(0),
            gid,
            additional_gids,
            home: account.as_ref().and_then(|account| text_of(account.home)),
            name: account.as_ref().and_then(|account| text_of(account.name)),
        })
    }

    fn builder(&self, text: &str) -> std::result::Result<User, UserProblem> {
        let mut user = self.user(text)?;
        let has_group = split(text)?.1.is_some();
        if let Some(name) = user.name.as_ref().filter(|_| !has_group) {
            user.additional_gids = self.groups_of(name.as_bytes());
        }
        Ok(user)
    }

    fn owner(&self, text: &str) -> std::result::Result<(Owner, Vec<UserProblem>), UserProblem> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        let mut problems = Vec::new();
        let (uid, own_gid) = match (user, number(user)?) {
            (_, Some(uid)) => (uid, uid),
            ("" | "root", None) => (0, 0),
            (name, None) => match self.account(name) {
                Ok(account) => (account.uid, account.gid),
                Err(problem) => {
                    problems.push(problem);
                    (0, 0)
                }
            },
        };
        let gid = match group {
            "" => own_gid,
            "root" => 0,
            group => match self.gid(group) {
                Ok(gid) => gid,
                Err(problem @ UserProblem::NoGroup(_)) => {
                    problems.push(problem);
                    own_gid
                }
                Err(problem) => return Err(problem),
            },
        };
        Ok((Owner { uid, gid }, problems))
    }

    fn account(&self, name: &str) -> std::result::Result<Account<'_>, UserProblem> {
        self.accounts()
            .find(|account| account.name == name.as_bytes())
            .ok_or_else(|| UserProblem::NoUser(name.to_owned()))
    }

    fn gid(&self, group: &str) -> std::result::Result<u32, UserProblem> {
        if let Some(gid) = number(group)? {
            return Ok(gid);
        }
        self.groups()
            .find(|found| found.name == group.as_bytes())
            .map(|found| found.gid)
            .ok_or_else(|| UserProblem::NoGroup(group.to_owned()))
    }

    fn groups_of(&self, user: &[u8]) -> Vec<u32> {
        let (mut gids, mut seen) = (Vec::new(), HashSet::new());
        for group in self.groups() {
            let is_member = group
                .members
                .split(|&byte| byte == b',')
                .any(|member| member == user);
            if is_member && seen.insert(group.gid) {
                gids.push(group.gid);
            }
        }
        gids
    }

    fn accounts(&self) -> impl Iterator<Item = Account<'_>> {
        lines(&self.passwd).filter_map(|line| {
            let mut fields = line.split(|&byte| byte == b':');
            let name = fields.next()?;
            let uid = id(fields.nth(1)?)?;
            let gid = id(fields.next()?)?;
            let home = fields.nth(1).unwrap_or_default();
            Some(Account {
                name,
                uid,
                gid,
                home,
            })
        })
    }

    fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        lines(&self.group).filter_map(|line| {
            let mut fields = line.split(|&byte| byte == b':');
            let name = fields.next()?;
            let gid = id(fields.nth(1)?)?;
            let members = fields.next().unwrap_or_default();
            Some(Group { name, gid, members })
        })
    }
}

fn lines(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    table
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii)
        // A name that is empty would be found by nobody, and `#` begins a comment.
        .filter(|line| !matches!(line.first(), None | Some(b'#' | b':')))
}

fn text_of(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn id(field: &[u8]) -> Option<u32> {
    let id: u32 = std::str::from_utf8(field).ok()?.parse().ok()?;
    (id <= MAX_ID).then_some(id)
}

/// Splits `user:group`; an empty text names neither, and an empty group is none.
fn split(text: &str) -> std::result::Result<(Option<&str>, Option<&str>), UserProblem> {
    let (user, group) = match text.split_once(':') {
        Some(("", _)) => return Err(UserProblem::NoName),
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let given = |text: &&str| !text.is_empty();
    Ok((Some(user).filter(given), group.filter(given)))
}

/// Returns the id that `text` is, `None` if it is a name: names that consist of digits alone cannot
/// be told from numbers, which win (CNV-22).
fn number(text: &str) -> std::result::Result<Option<u32>, UserProblem> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let id = text.parse().ok().filter(|&id: &u32| id <= MAX_ID);
    id.map(Some)
        .ok_or_else(|| UserProblem::TooLarge(text.to_owned()))
}

/// Reads a table of the image; one that is not there is empty.
fn read_table(tree: &Tree, contents: &dyn Contents, path: &[u8]) -> Result<Vec<u8>> {
    let Some(id) = tree.follow(path)? else {
        return Ok(Vec::new());
    };
    let wrong = |expected| Error::WrongKind {
        path: path.into(),
        expected,
    };
    let Kind::File(file) = &tree.node(id).kind else {
        return Err(wrong("a regular file"));
    };
    if file.size > MAX_TABLE {
        return Err(wrong("a table of at most 16 MiB"));
    }
    let mut table = Vec::new();
    contents
        .open(file)
        .and_then(|content| content.take(MAX_TABLE).read_to_end(&mut table))
        .map_err(|source| Error::Content {
            path: path.into(),
            source,
        })?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "# comment\n\
        root:x:0:0:root:/root:/bin/bash\n\
        \n\
        broken:x:one:2::/:\n\
        :x:77:77::/nameless:\n\
        huge:x:4294967295:1::/:\n\
        app:x:1000:100:App,,,:/home/app:/bin/sh\n\
        app:x:2000:200::/second:/bin/sh\n\
        short:x:1001:1001\n\
        12:x:500:500::/digits:\r\n";
    const GROUP: &str = "root:x:0:\n\
        users:x:100:app\n\
        audio:x:29:other,app\n\
        audio2:x:29:app\n\
        video:x:44:app,other\n\
        bad:x:-1:app\n\
        empty:x:45\n";

    fn tables() -> Tables {
        Tables {
            passwd: PASSWD.into(),
            group: GROUP.into(),
        }
    }

    fn user(
        uid: u32,
        gid: u32,
        additional: &[u32],
        home: Option<&str>,
        name: Option<&str>,
    ) -> User {
        User {
            uid,
            gid,
            additional_gids: additional.to_vec(),
            home: home.map(str::to_owned),
            name: name.map(str::to_owned),
        }
    }

    #[test]
    fn the_six_forms_of_a_user() {
        #[track_caller]
        fn check(text: &str, expected: &User) {
            assert_eq!(tables().user(text).as_ref(), Ok(expected), "{text:?}");
        }
        let (home, name) = (Some("/home/app"), Some("app"));
        let root = user(0, 0, &[], Some("/root"), Some("root"));
        check("", &root);
        check("0", &root);
        check("root", &root);
        check("app", &user(1000, 100, &[100, 29, 44], home, name));
        check("app:", &user(1000, 100, &[100, 29, 44], home, name));
        check("1000", &user(1000, 100, &[], home, name));
        check("app:video", &user(1000, 44, &[], home, name));
        check("app:7", &user(1000, 7, &[], home, name));
        check("1000:video", &user(1000, 44, &[], home, name));
        check("12345:54321", &user(12345, 54321, &[], None, None));
        check("12345", &user(12345, 0, &[], None, None));
        check("12", &user(12, 0, &[], None, None));
        check("short", &user(1001, 1001, &[], None, Some("short")));
        check(
            "4294967294:4294967294",
            &user(MAX_ID, MAX_ID, &[], None, None),
        );
    }

    #[test]
    fn numbers_need_no_tables() {
        #[track_caller]
        fn check(text: &str, uid: u32, gid: u32) {
            let found = Tables::default().user(text);
            assert_eq!(found, Ok(user(uid, gid, &[], None, None)), "{text:?}");
        }
        check("", 0, 0);
        check("7", 7, 0);
        check("7:8", 7, 8);
    }

    #[test]
    fn what_is_no_user() {
        #[track_caller]
        fn check(text: &str, expected: &UserProblem) {
            assert_eq!(tables().user(text).as_ref(), Err(expected), "{text:?}");
        }
        check("nosuch", &UserProblem::NoUser("nosuch".into()));
        check("-1", &UserProblem::NoUser("-1".into()));
        check("huge", &UserProblem::NoUser("huge".into()));
        check("broken", &UserProblem::NoUser("broken".into()));
        check("app:nosuch", &UserProblem::NoGroup("nosuch".into()));
        check("app:bad", &UserProblem::NoGroup("bad".into()));
        check("app:video:x", &UserProblem::NoGroup("video:x".into()));
        check("4294967295", &UserProblem::TooLarge("4294967295".into()));
        check(
            "0:99999999999",
            &UserProblem::TooLarge("99999999999".into()),
        );
        check(":5", &UserProblem::NoName);
    }

    #[test]
    fn who_runs_commands_of_a_build() {
        #[track_caller]
        fn check(text: &str, additional: &[u32]) {
            let user = tables().builder(text).unwrap();
            assert_eq!(user.additional_gids, additional, "{text:?}");
        }
        check("app", &[100, 29, 44]);
        check("1000", &[100, 29, 44]);
        check("1000:", &[100, 29, 44]);
        check("1000:7", &[]);
        check("app:video", &[]);
        check("12345", &[]);
        check("", &[]);
    }

    #[test]
    fn owners_of_files() {
        #[track_caller]
        fn check(text: &str, uid: u32, gid: u32, unknown: &[&str]) {
            let (owner, problems) = tables().owner(text).unwrap();
            let unknown = unknown.iter().map(|name| (*name).to_owned());
            let unknown: Vec<_> = unknown
                .map(|name| match name.strip_prefix(':') {
                    Some(group) => UserProblem::NoGroup(group.to_owned()),
                    None => UserProblem::NoUser(name),
                })
                .collect();
            assert_eq!(
                ((owner.uid, owner.gid), problems),
                ((uid, gid), unknown),
                "{text:?}"
            );
        }
        check("app", 1000, 100, &[]);
        check("app:video", 1000, 44, &[]);
        check("app:7", 1000, 7, &[]);
        check("app:", 1000, 100, &[]);
        check("app:root", 1000, 0, &[]);
        check("1000", 1000, 1000, &[]);
        check("1000:video", 1000, 44, &[]);
        check("55:66", 55, 66, &[]);
        check("", 0, 0, &[]);
        check(":", 0, 0, &[]);
        check(":5", 0, 5, &[]);
        check("nosuch", 0, 0, &["nosuch"]);
        check("nosuch:nor-this", 0, 0, &["nosuch", ":nor-this"]);
        check("app:nosuch", 1000, 100, &[":nosuch"]);
        check("nosuch:7", 0, 7, &["nosuch"]);
        let no_id = |text: &str| tables().owner(text).unwrap_err();
        assert_eq!(
            no_id("4294967295"),
            UserProblem::TooLarge("4294967295".into())
        );
        assert_eq!(
            no_id("0:4294967295"),
            UserProblem::TooLarge("4294967295".into())
        );
    }

    #[test]
    fn tables_are_those_of_the_tree() {
        use crate::bytes::{MemoryLayers, TreeContents};
        use corten_spec::{DiffId, Digest};
        use corten_tar::{Entry, EntryKind, Located};

        #[track_caller]
        fn check(
            tree: &Tree,
            contents: &dyn Contents,
            text: &str,
            expected: std::result::Result<u32, &str>,
        ) {
            let found = resolve_user(tree, contents, text).map(|user| user.uid);
            let found = found.map_err(|error| error.to_string());
            match expected {
                Ok(uid) => assert_eq!(found, Ok(uid), "{text}"),
                Err(part) => assert!(found.clone().unwrap_err().contains(part), "{found:?}"),
            }
        }
        let diff_id = DiffId(Digest::sha256(b"layer"));
        let link = |path: &str, target: &str| Located {
            entry: Entry {
                link: target.into(),
                ..Entry::new(EntryKind::Symlink, path)
            },
            offset: 0,
            stored_size: 0,
        };
        let file = |path: &str, offset, size| Located {
            entry: Entry {
                size,
                ..Entry::new(EntryKind::File, path)
            },
            offset,
            stored_size: size,
        };
        let bytes = MemoryLayers([(diff_id.clone(), b"app:x:5:6::/:".to_vec())].into());
        // The link leads out of the root, where the host's own table is.
        let entries = [
            link("etc/passwd", "../../../../data/passwd"),
            file("data/passwd", 0, 13),
            link("etc/group", "/proc/self/root/etc/group"),
        ];
        let (tree, _) = Tree::new().apply(&diff_id, &entries).unwrap();
        let contents = TreeContents {
            tree: &tree,
            bytes: &bytes,
        };
        check(&tree, &contents, "app", Ok(5));
        check(
            &tree,
            &contents,
            "root",
            Err("`/etc/passwd` has no user called `root`"),
        );
        check(
            &tree,
            &contents,
            "app:root",
            Err("`/etc/group` has no group called `root`"),
        );

        let huge = [file("etc/passwd", 0, MAX_TABLE + 1)];
        let (tree, _) = Tree::new().apply(&diff_id, &huge).unwrap();
        check(
            &tree,
            &TreeContents {
                tree: &tree,
                bytes: &bytes,
            },
            "app",
            Err("at most 16 MiB"),
        );
    }

    proptest::proptest! {
        #[test]
        fn no_table_and_no_text_does_harm(
            passwd in "([a-z:0-9#]{0,20}\n){0,5}",
            group in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100),
            text in ".{0,12}",
        ) {
            let tables = Tables { passwd: passwd.into_bytes(), group };
            if let Ok(user) = tables.user(&text) {
                proptest::prop_assert!(user.uid <= MAX_ID && user.gid <= MAX_ID);
            }
            if let Ok((owner, _)) = tables.owner(&text) {
                proptest::prop_assert!(owner.uid <= MAX_ID && owner.gid <= MAX_ID);
            }
        }
    }
}
