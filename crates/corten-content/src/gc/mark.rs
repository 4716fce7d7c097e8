//! Which blobs are reached. Where it is not clear, more is kept.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use corten_spec::{Descriptor, Digest, DocumentLimits, Kind};
use serde_json::Value;

use crate::files::open_regular;
use crate::gc::GcProblem;
use crate::graph::Parent;
use crate::layout::dir::LayoutDir;
use crate::layout::names;
use crate::{Error, Result, Source};

/// Collects what is reached, without following anything twice or recursing.
pub(super) struct Marker<'a> {
    files: Unprotected<'a>,
    marked: HashSet<Digest>,
    /// What was opened, as a document of known type and by guessing. Both may happen to one blob:
    /// only the first tells when it is damaged.
    opened: HashSet<Digest>,
    scanned: HashSet<Digest>,
    pending: Vec<Step>,
    problems: Vec<GcProblem>,
    blind: bool,
    /// The files of documents that are reached and were set aside as damaged.
    awaited: HashSet<PathBuf>,
}

enum Step {
    Typed(Box<Descriptor>),
    Unknown(Digest),
}

impl<'a> Marker<'a> {
    pub(super) fn new(dir: &'a LayoutDir) -> Self {
        Self {
            files: Unprotected(dir),
            marked: HashSet::new(),
            opened: HashSet::new(),
            scanned: HashSet::new(),
            pending: Vec::new(),
            problems: Vec::new(),
            blind: false,
            awaited: HashSet::new(),
        }
    }

    /// Marks `root` and everything that it refers to.
    pub(super) fn mark(&mut self, root: &Descriptor) {
        self.pending.push(Step::Typed(Box::new(root.clone())));
        self.run();
    }

    /// Marks content of which nothing but the digest is known.
    pub(super) fn mark_unknown(&mut self, digest: &Digest) {
        self.pending.push(Step::Unknown(digest.clone()));
        self.run();
    }

    /// Marks what the index lists, and returns the referrers without a name whose subject is not
    /// reached: they go with it.
    ///
    /// An index may list manifests that are not here, but an entry of the layout's own index is what
    /// somebody pulled: where its document is gone, nobody knows what it referred to.
    pub(super) fn mark_entries(&mut self, entries: &[Descriptor]) -> Vec<Descriptor> {
        self.blind |= entries
            .iter()
            .filter(|entry| entry.kind().has_children())
            .any(|entry| self.files.is_missing(&entry.digest));
        let mut waiting = Vec::new();
        for entry in entries {
            match names::name_of(entry) {
                None => match self.subject_of(entry) {
                    Some(subject) => waiting.push((entry, subject)),
                    None => self.mark(entry),
                },
                Some(_) => self.mark(entry),
            }
        }
        // A referrer may be the subject of another one, such as the signature of an SBOM.
        loop {
            let (reached, rest): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .partition(|(_, subject)| self.marked.contains(subject));
            waiting = rest;
            if reached.is_empty() {
                break;
            }
            for (entry, _) in reached {
                self.mark(entry);
            }
        }
        waiting
            .into_iter()
            .map(|(entry, _)| entry.clone())
            .filter(|entry| !self.marked.contains(&entry.digest))
            .collect()
    }

    /// Tells whether a document could not be read, so that what it refers to is not known.
    pub(super) fn is_blind(&self) -> bool {
        self.blind
    }

    /// Tells whether `path` is a document that is reached, and not there since it was set aside.
    pub(super) fn is_awaited(&self, path: &Path) -> bool {
        self.awaited.contains(path)
    }

    /// Returns what is reached so far.
    pub(super) fn marked(&self) -> HashSet<Digest> {
        self.marked.clone()
    }

    pub(super) fn into_problems(self) -> Vec<GcProblem> {
        self.problems
    }

    fn subject_of(&self, entry: &Descriptor) -> Option<Digest> {
        let parent = Parent::load(&self.files, entry).ok()??;
        Some(parent.subject()?.digest.clone())
    }

    fn run(&mut self) {
        while let Some(step) = self.pending.pop() {
            match step {
                Step::Typed(content) => self.step(&content),
                Step::Unknown(digest) => self.scan(&digest),
            }
        }
    }

    fn step(&mut self, content: &Descriptor) {
        self.marked.insert(content.digest.clone());
        match content.kind() {
            Kind::Index | Kind::Manifest => {}
            Kind::Schema1 | Kind::Other => return self.scan(&content.digest),
            Kind::Config | Kind::Layer { .. } => return,
        }
        if !self.opened.insert(content.digest.clone()) {
            return;
        }
        match Parent::load(&self.files, content) {
            Ok(Some(parent)) => {
                let children = parent.children();
                let steps = children
                    .into_iter()
                    .map(|child| Step::Typed(Box::new(child)));
                self.pending.extend(steps);
                if let Some(subject) = parent.subject() {
                    self.pending.push(Step::Unknown(subject.digest.clone()));
                }
            }
            Ok(None) => {}
            Err(error) => self.doubt(&content.digest, error),
        }
    }

    /// Reports a document that could not be read as what it is said to be. Its bytes may still be
    /// the right ones, as where an entry of the index has a wrong size: then they are searched for
    /// whatever they may refer to, and nothing is missed.
    fn doubt(&mut self, digest: &Digest, error: Error) {
        if !error.is_not_found() && self.files.is_intact(digest) {
            self.scan(digest);
            self.problems.push(GcProblem {
                content: digest.clone(),
                error,
            });
            return;
        }
        self.report(digest, error);
    }

    /// Marks everything that looks like a descriptor in a document of unknown type.
    fn scan(&mut self, digest: &Digest) {
        self.marked.insert(digest.clone());
        if !self.scanned.insert(digest.clone()) {
            return;
        }
        match self.files.json(digest) {
            Ok(Some(value)) => {
                let mut found = Vec::new();
                collect_digests(value, &mut found);
                self.pending.extend(found.into_iter().map(Step::Unknown));
            }
            Ok(None) => {}
            Err(error) if error.is_not_found() => {
                self.await_damaged(digest);
            }
            Err(error) => self.report(digest, error),
        }
    }

    fn report(&mut self, digest: &Digest, error: Error) {
        if error.is_not_found() {
            self.await_damaged(digest);
        } else {
            self.blind = true;
        }
        self.problems.push(GcProblem {
            content: digest.clone(),
            error,
        });
    }

    /// Takes a document that was set aside for one that cannot be read: what it referred to may be
    /// whole, and is needed as soon as it is back.
    fn await_damaged(&mut self, digest: &Digest) {
        let path = self.files.0.damaged_path(digest);
        if path.exists() {
            self.awaited.insert(path);
            self.blind = true;
        }
    }
}

/// Returns how long a document of unknown type may be.
///
/// A limit that the command line lowers does not count: what is not read here loses what it refers
/// to.
fn longest() -> u64 {
    let usual = DocumentLimits::default().either();
    DocumentLimits::installed().either().or_larger(usual).bytes
}

/// Collects the values of all fields called `digest`.
fn collect_digests(value: Value, found: &mut Vec<Digest>) {
    // The parser bounds the depth, hence the recursion.
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match &value {
                    Value::String(text) if name == "digest" => found.extend(text.parse()),
                    _ => collect_digests(value, found),
                }
            }
        }
        Value::Array(items) => items
            .into_iter()
            .for_each(|item| collect_digests(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The blobs, read without a lease: the exclusive lock is held already.
pub(crate) struct Unprotected<'a>(pub(crate) &'a LayoutDir);

impl Unprotected<'_> {
    fn open(&self, digest: &Digest) -> Result<(fs::File, u64)> {
        let path = self.0.blob_path(digest);
        open_regular(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => self.0.not_found(digest.as_str()),
            _ => Error::system("open", path)(error),
        })
    }

    fn is_missing(&self, digest: &Digest) -> bool {
        self.open(digest).is_err_and(|error| error.is_not_found())
    }

    /// Tells whether a blob of the size of a document has the bytes that its name promises.
    fn is_intact(&self, digest: &Digest) -> bool {
        let read = || {
            let (file, len) = self.open(digest).ok()?;
            let mut bytes = Vec::new();
            let limited = (len <= longest()).then(|| file.take(longest()))?;
            { limited }.read_to_end(&mut bytes).ok()?;
            digest.verify(&bytes).ok()
        };
        read().is_some()
    }

    /// Returns the content if it is a JSON object of the size of a document.
    fn json(&self, digest: &Digest) -> Result<Option<Value>> {
        let (mut file, len) = self.open(digest)?;
        if len > longest() {
            return Ok(None);
        }
        let failed = |error| Error::system("read", self.0.blob_path(digest))(error);
        let mut first = [0];
        if file.read(&mut first).map_err(failed)? == 0 || first != *b"{" {
            return Ok(None);
        }
        let mut bytes = first.to_vec();
        file.take(longest())
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        Ok(serde_json::from_slice(&bytes).ok())
    }
}

impl Source for Unprotected<'_> {
    fn place(&self) -> String {
        self.0.place()
    }

    fn resolve(&self, name: &str) -> Result<Descriptor> {
        Err(self.0.not_found(name))
    }

    fn fetch(&self, content: &Descriptor, _: u64) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.open(&content.digest)?.0))
    }
}
