//! Directories and trees in a few lines of text.
//!
//! ```text
//! dir MODE [UID:GID] PATH
//! file MODE [UID:GID] PATH CONTENT     `\n` in the content is a line end
//! link [UID:GID] PATH TARGET
//! hard PATH FIRST
//! fifo MODE [UID:GID] PATH
//! xattr PATH NAME VALUE
//! time PATH SECONDS
//! ```
//!
//! Owners are written unless they are root, parents that no line describes are root's and 0755.
//! What a tree holds is shown in the same words, without times.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use corten_layer::{Changeset, Contents, Data, File, Item, Kind, Meta, Put, Tree};
use corten_tar::Timestamp;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};

/// When everything was written unless a line says otherwise.
pub(crate) const TIME: i64 = 1_000_000_000;

/// One line.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    kind: &'a str,
    mode: u32,
    owner: (u32, u32),
    path: &'a str,
    rest: &'a str,
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(line)
}

fn line(text: &str) -> Line<'_> {
    let next = |rest| str::split_once(rest, ' ').unwrap_or((rest, ""));
    let (kind, mut rest) = next(text);
    let mut mode = 0o777;
    if matches!(kind, "dir" | "file" | "fifo") {
        let (word, after) = next(rest);
        mode = u32::from_str_radix(word, 8).unwrap_or_else(|_| panic!("no mode in `{text}`"));
        rest = after;
    }
    let mut owner = (0, 0);
    if let (word, after) = next(rest)
        && let Some((uid, gid)) = word.split_once(':')
        && let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse())
    {
        owner = (uid, gid);
        rest = after;
    }
    let (path, rest) = next(rest);
    Line {
        kind,
        mode,
        owner,
        path,
        rest,
    }
}

/// Makes in `directory` what `text` says, owners left out.
pub(crate) fn make(directory: &Path, text: &str) {
    for line in lines(text) {
        let path = directory.join(line.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match line.kind {
            "dir" => fs::create_dir_all(&path).unwrap(),
            "file" => write(&path, &unescape(line.rest)),
            "link" => std::os::unix::fs::symlink(line.rest, &path).unwrap(),
            "hard" => fs::hard_link(directory.join(line.rest), &path).unwrap(),
            "fifo" => rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0)
                .unwrap(),
            "xattr" => {
                let (name, value) = line.rest.split_once(' ').unwrap();
                rustix::fs::lsetxattr(&path, name, value.as_bytes(), XattrFlags::empty()).unwrap();
            }
            "time" => {}
            other => panic!("no such kind: {other}"),
        }
        if matches!(line.kind, "dir" | "file" | "fifo") {
            fs::set_permissions(&path, fs::Permissions::from_mode(line.mode)).unwrap();
        }
    }
    let mut times: BTreeMap<&Path, i64> = BTreeMap::new();
    for line in lines(text) {
        for path in Path::new(line.path).ancestors() {
            times.entry(path).or_insert(TIME);
        }
    }
    for line in lines(text).filter(|line| line.kind == "time") {
        times.insert(Path::new(line.path), line.rest.parse().unwrap());
    }
    for (path, seconds) in times {
        touch(&directory.join(path), seconds);
    }
}

/// Writes a file in place.
pub(crate) fn write(path: &Path, content: &[u8]) {
    use std::io::Write as _;
    fs::File::create(path).unwrap().write_all(content).unwrap();
}

/// Sets the time of a path, which is not followed.
pub(crate) fn touch(path: &Path, seconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// The contents of the files of [`changes`].
pub(crate) struct Texts(Vec<Vec<u8>>);

impl Contents for Texts {
    fn open<'a>(&'a self, file: &'a File) -> io::Result<Box<dyn Read + Send + 'a>> {
        let Data::External(number) = file.data else {
            return Err(io::ErrorKind::NotFound.into());
        };
        Ok(Box::new(
            self.0[usize::try_from(number).unwrap()].as_slice(),
        ))
    }
}

/// Returns what `text` says as the changes of a layer.
pub(crate) fn changes(text: &str) -> (Changeset, Texts) {
    let mut changes = Changeset::default();
    let mut texts = Texts(Vec::new());
    let time = Timestamp::from_seconds(TIME);
    for (number, line) in (0..).zip(lines(text)) {
        let path = line.path.as_bytes();
        let item = match line.kind {
            "dir" => Item::Directory,
            "link" => Item::Symlink(line.rest.as_bytes().into()),
            "fifo" => Item::Fifo,
            "file" => {
                texts.0.push(unescape(line.rest));
                Item::File(File {
                    size: texts.0.last().unwrap().len() as u64,
                    data: Data::External(texts.0.len() as u64 - 1),
                    sparse: None,
                })
            }
            "hard" => {
                let Some(corten_layer::Change::Put(first)) = changes.get(line.rest.as_bytes())
                else {
                    panic!("`{}` is not there", line.rest);
                };
                let mut put = first.clone();
                put.group = Some(number);
                changes.put(line.rest.as_bytes(), put.clone()).unwrap();
                changes.put(path, put).unwrap();
                continue;
            }
            other => panic!("no such kind: {other}"),
        };
        for (end, _) in line.path.match_indices('/') {
            let parent = &path[..end];
            if changes.get(parent).is_none() {
                let put = Put::directory(Meta::implied_directory(time));
                changes.put(parent, put).unwrap();
            }
        }
        let put = Put {
            item,
            meta: Meta::new(line.mode, line.owner.0, line.owner.1, time),
            group: None,
        };
        changes.put(path, put).unwrap();
    }
    (changes, texts)
}

/// Returns every path of `tree` with the line that describes it.
pub(crate) fn show(tree: &Tree, contents: &dyn Contents) -> BTreeMap<String, String> {
    let mut first_names = BTreeMap::new();
    let mut shown = BTreeMap::new();
    for (path, id) in tree.walk() {
        let path = String::from_utf8(path).unwrap();
        let node = tree.node(id);
        let owner = match (node.meta.uid, node.meta.gid) {
            (0, 0) => String::new(),
            (uid, gid) => format!("{uid}:{gid} "),
        };
        let place = format!("{:o} {owner}{path}", node.meta.mode);
        let first = first_names.entry(id).or_insert_with(|| path.clone());
        let mut line = match &node.kind {
            _ if *first != path => format!("hard {path} {first}"),
            Kind::Directory(_) => format!("dir {place}"),
            Kind::Fifo => format!("fifo {place}"),
            Kind::Device { major, minor, .. } => format!("device {place} {major}:{minor}"),
            Kind::Symlink(target) => {
                format!("link {owner}{path} {}", String::from_utf8_lossy(target))
            }
            Kind::File(file) => {
                let mut content = Vec::new();
                contents
                    .open(file)
                    .unwrap()
                    .read_to_end(&mut content)
                    .unwrap();
                let content = String::from_utf8_lossy(&content).replace('\n', "\\n");
                format!("file {place} {content}")
            }
        };
        for (name, value) in node.meta.xattrs().iter().filter(|_| *first == path) {
            let [name, value] = [name, value].map(|bytes| String::from_utf8_lossy(bytes));
            line = format!("{line}\nxattr {path} {name} {value}");
        }
        shown.insert(path.replace('/', "\0"), line.trim_end().to_owned());
    }
    shown
}

/// Returns the lines of `tree` that are not in `base`, and `gone` for those only there.
pub(crate) fn difference(
    tree: &BTreeMap<String, String>,
    base: &BTreeMap<String, String>,
) -> String {
    let mut lines = BTreeMap::new();
    for (path, line) in tree
        .iter()
        .filter(|(path, line)| base.get(*path) != Some(line))
    {
        lines.insert(path, line.clone());
    }
    for path in base.keys().filter(|path| !tree.contains_key(*path)) {
        lines.insert(path, format!("gone {}", path.replace('\0', "/")));
    }
    lines.into_values().collect::<Vec<_>>().join("\n")
}

/// Returns `text` without indentation, to be compared with a listing.
pub(crate) fn trimmed(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("\n")
}

fn unescape(text: &str) -> Vec<u8> {
    text.replace("\\n", "\n").into_bytes()
}
