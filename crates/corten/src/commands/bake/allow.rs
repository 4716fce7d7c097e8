//! What targets ask for beyond the working directory, and what of it is allowed.
//!
//! A bake file is read from somewhere, and names paths of this machine. As for buildx, those outside of the
//! working directory have to be allowed by whoever builds, and so have the host's network, commands that
//! are not confined, and the agent of SSH.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use corten_bake::Baked;
use rustix::fs::{Mode, OFlags, open};
use serde_json::{Map, Value};

use crate::error::CommandError;

/// One `--allow`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Allowed {
    /// `network.host`, `security.insecure` or `ssh`.
    Named(String),
    /// To read below a path; `*` is everywhere.
    Read(PathBuf),
    /// To write below a path.
    Write(PathBuf),
    /// To read and to write there.
    Both(PathBuf),
}

const NAMES: [&str; 3] = ["network.host", "security.insecure", "ssh"];

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if NAMES.contains(&text) {
            return Ok(Self::Named(text.to_owned()));
        }
        let (key, path) = text.split_once('=').unwrap_or((text, ""));
        let path = (!path.is_empty()).then(|| PathBuf::from(path));
        match (key, path) {
            ("fs.read", Some(path)) => Ok(Self::Read(path)),
            ("fs.write", Some(path)) => Ok(Self::Write(path)),
            ("fs", Some(path)) => Ok(Self::Both(path)),
            ("fs.read" | "fs.write" | "fs", None) => Err(format!("expected `{key}=PATH`")),
            _ => Err(format!(
                "expected `{}`, `fs.read=PATH`, `fs.write=PATH` or `fs=PATH`",
                NAMES.join("`, `")
            )),
        }
    }
}

/// What targets ask for.
#[derive(Debug, Default)]
struct Asked {
    named: BTreeSet<String>,
    read: BTreeSet<String>,
    written: BTreeSet<String>,
}

/// Refuses what the targets ask for and nobody allowed. Paths are only looked at if `with_paths`.
pub(super) fn check(
    baked: &Baked,
    allowed: &[Allowed],
    with_paths: bool,
) -> Result<(), CommandError> {
    let mut asked = Asked::default();
    for target in baked.targets.values() {
        asked.add(target);
    }
    let is_named = |name: &String| {
        let mut named = allowed.iter();
        named.any(|one| matches!(one, Allowed::Named(known) if known == name))
    };
    let mut missing: Vec<String> = asked
        .named
        .into_iter()
        .filter(|one| !is_named(one))
        .collect();
    if with_paths {
        let reading = allowed.iter().filter_map(|one| match one {
            Allowed::Read(path) | Allowed::Both(path) => Some(path.as_path()),
            Allowed::Write(_) | Allowed::Named(_) => None,
        });
        let writing = allowed.iter().filter_map(|one| match one {
            Allowed::Write(path) | Allowed::Both(path) => Some(path.as_path()),
            Allowed::Read(_) | Allowed::Named(_) => None,
        });
        let read = outside(&asked.read, reading)?;
        missing.extend(read.iter().map(|path| format!("fs.read={path}")));
        let written = outside(&asked.written, writing)?;
        missing.extend(written.iter().map(|path| format!("fs.write={path}")));
    } else {
        missing.retain(|one| one != "ssh");
    }
    if missing.is_empty() {
        return Ok(());
    }
    let flags = missing.iter().map(|one| format!("--allow {one}"));
    let flags = flags.collect::<Vec<_>>().join(" ");
    let text = format!(
        "the targets ask for what is not allowed: `{}`",
        missing.join("`, `")
    );
    Err(CommandError::failed(text).hint(format!("pass `{flags}` if you trust the files")))
}

impl Asked {
    fn add(&mut self, target: &Map<String, Value>) {
        let entries = |key: &str| {
            let all = target.get(key).and_then(Value::as_array);
            all.into_iter().flatten()
        };
        let text = |value: &Value, key: &str| value.get(key)?.as_str().map(str::to_owned);
        let asked = entries("entitlements").filter_map(Value::as_str);
        self.named.extend(asked.map(str::to_owned));
        let context = target.get("context").and_then(Value::as_str);
        let file = target.get("dockerfile").and_then(Value::as_str);
        if let Some(context) = context {
            self.read(context);
            if target.get("dockerfile-inline").is_none()
                && let Some(file) = file
            {
                match file.strip_prefix("cwd://") {
                    Some(path) => self.read(path),
                    None if is_local(context) => {
                        let path = Path::new(local(context)).join(file);
                        self.read(&path.to_string_lossy());
                    }
                    None => {}
                }
            }
        }
        let contexts = target.get("contexts").and_then(Value::as_object);
        for place in contexts.into_iter().flat_map(Map::values) {
            if let Some(place) = place.as_str() {
                self.read(place);
            }
        }
        let caches = |key, place| {
            let local = entries(key).filter(|one| text(one, "type").as_deref() == Some("local"));
            local.filter_map(move |one| text(one, place))
        };
        self.read.extend(caches("cache-from", "src"));
        self.written.extend(caches("cache-to", "dest"));
        self.written
            .extend(entries("output").filter_map(|one| text(one, "dest")));
        self.read
            .extend(entries("secret").filter_map(|one| text(one, "src")));
        for agent in entries("ssh") {
            let paths = agent.get("paths").and_then(Value::as_array);
            match paths.filter(|paths| !paths.is_empty()) {
                Some(paths) => {
                    let paths = paths.iter().filter_map(Value::as_str);
                    self.read.extend(paths.map(str::to_owned));
                }
                None => drop(self.named.insert("ssh".to_owned())),
            }
        }
    }

    fn read(&mut self, place: &str) {
        if let Some(layout) = place.strip_prefix("oci-layout://") {
            let path = layout.split(['@', ':']).next().unwrap_or(layout);
            self.read.insert(path.to_owned());
        } else if is_local(place) {
            self.read.insert(local(place).to_owned());
        }
    }
}

fn is_local(place: &str) -> bool {
    place.starts_with("cwd://")
        || !(place.contains("://") || place.starts_with("git@") || place.starts_with("target:"))
}

fn local(place: &str) -> &str {
    place.strip_prefix("cwd://").unwrap_or(place)
}

/// Returns those of `paths` that are neither below the working directory nor below an allowed one.
fn outside<'a>(
    paths: &'a BTreeSet<String>,
    allowed: impl Iterator<Item = &'a Path>,
) -> Result<Vec<String>, CommandError> {
    let mut roots = vec![real(Path::new("."))?];
    let mut is_everywhere = false;
    for path in allowed {
        is_everywhere |= path == Path::new("*");
        roots.push(real(path)?);
    }
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| !path.is_empty() && *path != "-") {
        let is_inside = real(Path::new(path)).map(|real| {
            let mut roots = roots.iter();
            roots.any(|root| real.starts_with(root))
        })?;
        if !is_everywhere && !is_inside {
            found.push(path.clone());
        }
    }
    Ok(found)
}

/// Returns where `path` leads, links followed as far as there is something.
fn real(path: &Path) -> Result<PathBuf, CommandError> {
    let failed = |error: std::io::Error| {
        CommandError::doing(format!("cannot look at `{}`", path.display()), error)
    };
    let mut there = path.to_owned();
    let mut rest: Vec<OsString> = Vec::new();
    loop {
        let shown = if there.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &there
        };
        match open(shown, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Ok(opened) => {
                let link = format!("/proc/self/fd/{}", opened.as_raw_fd());
                let mut real = fs::read_link(link).map_err(failed)?;
                // What is not there has no links, so that `..` is what it says.
                for part in rest.iter().rev() {
                    if part == ".." {
                        real.pop();
                    } else {
                        real.push(part);
                    }
                }
                return Ok(real);
            }
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let Some(part) = there.components().next_back() else {
            return Err(failed(std::io::ErrorKind::NotFound.into()));
        };
        rest.push(part.as_os_str().to_owned());
        there.pop();
    }
}
