//! What an entry of a layer is apart from what it does to the tree: names, order, encoding
//! (layer.md).

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use corten_layer::path::{NameKind, classify, components};
use corten_layer::{Notice, Tree};
use corten_tar::{Entry, EntryKind, Located, Quirk};

use super::finding::Fault;
use super::report::{Rule, must, note, should};

/// What a layer has had so far. Paths are kept as hashes: memory is of the number of entries alone.
pub(super) struct Lint {
    hashing: (RandomState, RandomState),
    /// The paths that have an entry.
    seen: HashSet<u128>,
    /// The directories in which something was put.
    filled: HashSet<u128>,
    /// The paths whose entries were refused.
    refused: HashSet<u128>,
    /// The directory of the last entry, known to be there.
    last_parent: Option<u128>,
}

/// What is found: which requirement, and what is wrong.
pub(super) type Told = (Rule, Fault);

impl Lint {
    pub(super) fn new() -> Self {
        Self {
            hashing: (RandomState::new(), RandomState::new()),
            seen: HashSet::new(),
            filled: HashSet::new(),
            refused: HashSet::new(),
            last_parent: None,
        }
    }

    /// Looks at an entry before it is applied to `tree`, which is `None` if nobody knows it.
    pub(super) fn entry(&mut self, located: &Located, tree: Option<&Tree>) -> Vec<Told> {
        let mut told = Vec::new();
        let entry = &located.entry;
        let names = components(&entry.path).names;
        let path = self.key(&names);
        if !self.seen.insert(path) {
            let message = "the path has an entry in this layer already; the last one counts";
            told.push((must("LYR-04"), message.into()));
        }
        if entry.path.starts_with(b"/") {
            told.push((note("LYR-70"), "the name begins with `/`".into()));
        }
        check_attributes(entry, &mut told);
        if let Some((last, parents)) = names.split_last() {
            let parent = self.key(parents);
            self.check_name(entry, (last, parent), &mut told);
            if matches!(classify(last), NameKind::Content(_)) {
                self.check_parent(parents, parent, tree, &mut told);
            }
        }
        if entry.kind == EntryKind::HardLink {
            self.check_target(entry, tree, &mut told);
        }
        told
    }

    /// Remembers that the entry was refused, so that what builds on it is not told about, too.
    pub(super) fn refuse(&mut self, path: &[u8]) {
        let path = self.key(&components(path).names);
        self.refused.insert(path);
    }

    /// Returns whether what a hard link names was refused.
    pub(super) fn is_refused(&self, path: &[u8]) -> bool {
        self.refused.contains(&self.key(&components(path).names))
    }

    /// Returns whether `path` has an entry of its own in this layer.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.seen.contains(&self.key(&components(path).names))
    }

    fn check_name(&mut self, entry: &Entry, (name, parent): (&[u8], u128), told: &mut Vec<Told>) {
        let kind = classify(name);
        match kind {
            NameKind::Content(_) => {
                self.filled.insert(parent);
                return;
            }
            NameKind::Aufs => {
                let message = "AUFS's own names mean nothing in a layer, and were left out";
                told.push((should("LYR-31"), message.into()));
                return;
            }
            NameKind::Invalid => return,
            NameKind::Opaque => {
                let message = "it deletes all that is below, and does not say what that is";
                told.push((should("LYR-36"), message.into()));
            }
            NameKind::Whiteout(_) => {}
        }
        if entry.kind == EntryKind::Directory {
            let fault = Fault::differs("a directory", "an empty file");
            told.push((should("LYR-35"), fault));
        } else if entry.kind != EntryKind::File || entry.size > 0 {
            let received = match entry.kind {
                EntryKind::File => format!("a file of {} bytes", entry.size),
                other => kind_name(other).to_owned(),
            };
            told.push((should("LYR-28"), Fault::differs(received, "an empty file")));
        }
        if self.filled.contains(&parent) {
            let message = "the whiteout comes after other entries of its directory";
            told.push((should("LYR-34"), message.into()));
        }
    }

    fn check_parent(
        &mut self,
        parents: &[&[u8]],
        parent: u128,
        tree: Option<&Tree>,
        told: &mut Vec<Told>,
    ) {
        let Some(tree) = tree else { return };
        if self.last_parent == Some(parent) || self.seen.contains(&parent) {
            return;
        }
        let is_plain = |name: &&[u8]| matches!(classify(name), NameKind::Content(_));
        if parents.iter().all(is_plain) && matches!(tree.follow(&parents.join(&b'/')), Ok(None)) {
            let message = "its directory has no entry, here or below";
            told.push((note("LYR-41"), message.into()));
        }
        self.last_parent = Some(parent);
    }

    fn check_target(&self, entry: &Entry, tree: Option<&Tree>, told: &mut Vec<Told>) {
        let is_below = |tree: &Tree| matches!(tree.lookup(&entry.link), Ok(Some(_)));
        if !self.has(&entry.link) && tree.is_some_and(is_below) {
            let message = "the hard link is to a file of a layer below, which some tools refuse";
            told.push((note("LYR-19"), message.into()));
        }
    }

    fn key(&self, names: &[&[u8]]) -> u128 {
        let hash = |state: &RandomState| u128::from(state.hash_one(names));
        hash(&self.hashing.0) << 64 | hash(&self.hashing.1)
    }
}

fn check_attributes(entry: &Entry, told: &mut Vec<Told>) {
    if entry.sparse.is_some() {
        let message = "the file is written as a sparse one";
        told.push((should("LYR-16"), message.into()));
    }
    if entry.kind == EntryKind::CharDevice && entry.device == (0, 0) {
        let message = "a character device 0:0 is how overlayfs writes a whiteout";
        told.push((should("LYR-05"), message.into()));
    }
    for (name, _) in &entry.xattrs {
        let shown = name.escape_ascii();
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            let message = format!("the attribute `{shown}` is overlayfs's own, and never applied");
            told.push((should("LYR-09"), message.into()));
        } else if name == b"security.selinux" {
            let message = format!("the attribute `{shown}` is the machine's own, and not applied");
            told.push((note("LYR-09"), message.into()));
        }
    }
}

/// Returns what an unusual encoding breaks.
pub(super) fn of_quirk(quirk: Quirk) -> Told {
    match quirk {
        Quirk::GlobalHeader { has_meaning: true } => {
            let message =
                "a PAX global header precedes it, which some readers apply and some do not";
            (should("LYR-02"), message.into())
        }
        Quirk::GlobalHeader { has_meaning: false } => {
            let message = "a PAX global header precedes it, which some readers refuse";
            (note("LYR-02"), message.into())
        }
        Quirk::VolumeLabel => {
            let message = "a GNU volume label precedes it, which some readers refuse";
            (note("LYR-02"), message.into())
        }
        Quirk::Contiguous => {
            let message = "its type is `7`, a contiguous file, which some readers refuse";
            (note("LYR-05"), message.into())
        }
        Quirk::SizeDiffers { header, extended } => {
            let fault = Fault::differs(header.to_string(), extended.to_string());
            let message = format!(
                "its header says {header} bytes and its PAX header {extended}: readers that take \
                 the wrong one read on in the middle of a file (CVE-2025-62518)"
            );
            (should("LYR-02"), fault.saying(message))
        }
        Quirk::SizeWithoutBody(size) => {
            let fault = Fault::differs(size.to_string(), "0");
            let message = format!("it says {size} bytes, although what it is has no content");
            (should("LYR-02"), fault.saying(message))
        }
        Quirk::LibarchiveXattr => {
            let message = "an attribute is written as `LIBARCHIVE.xattr.` alone, which most tools \
                           do not read";
            (note("LYR-13"), message.into())
        }
    }
}

/// Returns what was noticed in applying, unless it is told about already.
pub(super) fn of_notice(notice: Notice, is_repeated: bool) -> Option<Told> {
    let rule = match notice {
        Notice::ParentInPath => should("LYR-71"),
        // The same name is found by its spelling.
        Notice::Duplicate if is_repeated => return None,
        Notice::Duplicate => {
            let message = "another entry of this layer leads to the same file through a link";
            return Some((should("LYR-04"), message.into()));
        }
        Notice::WhiteoutOfNothing => note("LYR-39"),
        Notice::BelowWhiteout => should("LYR-31"),
        // Which attribute it is has been looked at.
        Notice::XattrDropped => return None,
    };
    Some((rule, notice.as_str().into()))
}

fn kind_name(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "a file",
        EntryKind::HardLink => "a hard link",
        EntryKind::Symlink => "a symbolic link",
        EntryKind::CharDevice => "a character device",
        EntryKind::BlockDevice => "a block device",
        EntryKind::Directory => "a directory",
        EntryKind::Fifo => "a named pipe",
    }
}
