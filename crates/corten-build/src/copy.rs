//! COPY and ADD: which path of a source becomes which path of the image.
//!
//! Everything is decided on trees: the context, another stage and an image are all the same here.
//! The result is a changeset, from which the layer is written without unpacking anything.

mod archive;
mod filter;
pub(crate) mod remote;
mod select;
mod step;
mod words;

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use corten_dockerfile::{Chmod, Span};
use corten_layer::tree::{File, Kind};
use corten_layer::{Change, Changeset, Contents, Data, Item, Meta, NodeId, Put, Shown, Tree, path};
use corten_tar::Timestamp;

pub(crate) use archive::Archive;
pub(crate) use filter::{Filter, Why};
pub(crate) use remote::http_date;
pub(crate) use select::{Selected, is_optional, select};

use crate::chmod::symbolic;
use crate::context::DirectoryFiles;
use crate::error::StepError;

/// Where files are copied from.
#[derive(Clone, Copy)]
pub(crate) struct SourceTree<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) contents: &'a dyn Contents,
    /// Whether owners are kept, as they are for other stages, or become root.
    pub(crate) owners: SourceOwners,
    /// The same as `contents`, if they are files of the host.
    pub(crate) host: Option<&'a DirectoryFiles>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceOwners {
    Keep,
    Root,
}

/// How copied files are changed.
#[derive(Debug, Clone)]
pub(crate) struct Attributes {
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) mode: Option<Chmod>,
    /// The time of directories that are made because something is put into them.
    pub(crate) now: Timestamp,
}

/// The changes of one COPY or ADD being collected.
pub(crate) struct Copier<'a> {
    lower: &'a Tree,
    attributes: &'a Attributes,
    /// Where the instruction is, for messages.
    span: Span,
    changes: Changeset,
    /// The hard links of one source: each source has its own, as for BuildKit.
    groups: HashMap<NodeId, u64>,
    n_groups: u64,
    files: CopiedFiles<'a>,
}

/// Opens the files of a changeset that [`Copier`] made, wherever each came from.
#[derive(Default)]
pub(crate) struct CopiedFiles<'a> {
    origins: Vec<Origin<'a>>,
}

enum Origin<'a> {
    Tree(&'a dyn Contents, File),
    Text(Vec<u8>),
    Archive(Arc<Archive>, File),
}

impl Contents for CopiedFiles<'_> {
    fn open<'a>(&'a self, file: &'a File) -> io::Result<Box<dyn Read + Send + 'a>> {
        let Data::External(number) = file.data else {
            return Err(io::Error::other("the file was not copied"));
        };
        match usize::try_from(number)
            .ok()
            .and_then(|number| self.origins.get(number))
        {
            Some(Origin::Tree(contents, file)) => contents.open(file),
            Some(Origin::Text(text)) => Ok(Box::new(text.as_slice())),
            Some(Origin::Archive(archive, file)) => archive.open(file),
            None => Err(io::Error::other("the file was not copied")),
        }
    }
}

/// What is where something is to be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occupant {
    Directory,
    Other,
}

/// Why something cannot be put where it should go.
pub(crate) type CopyResult<T> = Result<T, StepError>;

impl<'a> Copier<'a> {
    pub(crate) fn new(lower: &'a Tree, attributes: &'a Attributes, span: Span) -> Self {
        Self {
            lower,
            attributes,
            span,
            changes: Changeset::default(),
            groups: HashMap::new(),
            n_groups: 0,
            files: CopiedFiles::default(),
        }
    }

    pub(crate) fn finish(self) -> (Changeset, CopiedFiles<'a>) {
        (self.changes, self.files)
    }

    /// Returns the path that `dest` is in the image: links are followed, as the kernel would.
    pub(crate) fn real(&self, dest: &[u8]) -> CopyResult<Vec<u8>> {
        let real = self.lower.real_path(dest)?;
        real.ok_or_else(|| {
            let shown = Shown::from(dest);
            let message = format!("`{shown}` leads through something that is no directory");
            StepError::at(self.span, message)
        })
    }

    /// Starts the next source.
    pub(crate) fn next_source(&mut self) {
        self.groups.clear();
    }

    /// Tells whether `path` is a directory, in the image or because of this copy.
    pub(crate) fn is_directory(&self, path: &[u8]) -> bool {
        self.occupant(path) == Some(Occupant::Directory)
    }

    /// Returns what is at the canonical `path`, in the image or because of this copy.
    fn occupant(&self, path: &[u8]) -> Option<Occupant> {
        let is_directory = match self.changes.get(path) {
            Some(Change::Put(put)) => put.item == Item::Directory,
            Some(Change::Remove) => return None,
            None => matches!(
                self.lower.node(self.lower.exact(path)?).kind,
                Kind::Directory(_)
            ),
        };
        Some(if is_directory {
            Occupant::Directory
        } else {
            Occupant::Other
        })
    }

    /// Puts a text, a here-document, at `dest`.
    pub(crate) fn put_text(&mut self, dest: &[u8], text: &str) -> CopyResult<()> {
        let size = text.len() as u64;
        let data = self.data(Origin::Text(text.as_bytes().to_vec()));
        let meta = self.meta(
            &Meta::new(0o644, 0, 0, self.attributes.now),
            false,
            SourceOwners::Root,
        );
        self.put(
            dest,
            Put {
                item: Item::File(File {
                    size,
                    data,
                    sparse: None,
                }),
                meta,
                group: None,
            },
        )
    }

    /// Puts the node `id` of `source`, which is no directory, at `dest`.
    pub(crate) fn put_node(
        &mut self,
        source: &SourceTree<'a>,
        id: NodeId,
        dest: &[u8],
    ) -> CopyResult<()> {
        let node = source.tree.node(id);
        let mut put = Put::of_node(node, 0);
        put.group = (node.n_links > 1).then(|| self.group(id));
        put.meta = self.meta(&node.meta, false, source.owners);
        if let Item::File(file) = &mut put.item {
            file.data = self.data(Origin::Tree(source.contents, file.clone()));
        }
        self.put(dest, put)
    }

    /// Puts what `filter` takes of the directory `id` of `source` into `dest`, which is made unless it
    /// is there: as any parent, not with the attributes of the directory, as for BuildKit.
    pub(crate) fn put_content(
        &mut self,
        source: &SourceTree<'a>,
        id: NodeId,
        dest: &[u8],
        filter: &Filter,
    ) -> CopyResult<()> {
        let mtime = source.tree.node(id).meta.mtime;
        self.make_directories(dest, mtime, self.made_mode())?;
        let taken = filter.below(source.tree, id);
        // BuildKit gives a destination that is there the time of the source, and nothing else, if anything
        // is put into it. A root has a time only by accident: that of a checkout, say.
        if id != Tree::ROOT
            && !dest.is_empty()
            && !taken.is_empty()
            && let Some(mut there) = self.directory_meta(dest)
            && there.mtime != mtime
        {
            there.mtime = mtime;
            self.put(dest, Put::directory(there))?;
        }
        // The directories that lead to the current one: in the source and in the image.
        let mut way = vec![(Vec::new(), dest.to_vec())];
        for taken in taken {
            let (parent, name) = path::split(&taken.path);
            way.truncate(
                way.iter()
                    .take_while(|(path, _)| path::is_within(parent, path))
                    .count(),
            );
            let directory = way.last().map_or(dest, |(_, place)| place);
            let path = path::join(directory, name);
            let node = source.tree.node(taken.node);
            if !matches!(node.kind, Kind::Directory(_)) {
                self.put_node(source, taken.node, &path)?;
                continue;
            }
            let path = self.directory_at(&path)?;
            let existing = match taken.why {
                Why::Itself => None,
                Why::Parent => self.directory_meta(&path),
            };
            let meta = match existing {
                // BuildKit gives a directory that is there and only led through the mode, and nothing
                // else.
                Some(mut existing) => {
                    existing.mode = node.meta.mode;
                    existing
                }
                None => self.meta(&node.meta, true, source.owners),
            };
            self.put(&path, Put::directory(meta))?;
            way.push((taken.path, path));
        }
        Ok(())
    }

    /// Returns the attributes of the directory at `path`, if there is one.
    fn directory_meta(&self, path: &[u8]) -> Option<Meta> {
        match self.changes.get(path) {
            Some(Change::Put(put)) => (put.item == Item::Directory).then(|| put.meta.clone()),
            Some(Change::Remove) => None,
            None => {
                let node = self.lower.node(self.lower.exact(path)?);
                matches!(node.kind, Kind::Directory(_)).then(|| node.meta.clone())
            }
        }
    }

    /// Puts everything of an unpacked archive into `dest`, whose own attributes stay.
    ///
    /// As tar does, and unlike what is copied, an entry replaces whatever is of another kind; a
    /// directory that only comes to be as a parent goes where a link leads.
    pub(crate) fn put_archive(&mut self, archive: Archive, dest: &[u8]) -> CopyResult<()> {
        let archive = Arc::new(archive);
        self.make_directories(dest, self.attributes.now, 0o755)?;
        let mut todo = vec![(Tree::ROOT, Vec::new(), dest.to_vec())];
        while let Some((directory, inside, dest)) = todo.pop() {
            for (name, id) in archive.tree.children(directory) {
                let inside = path::join(&inside, name);
                let mut dest = path::join(&dest, name);
                let node = archive.tree.node(id);
                if matches!(node.kind, Kind::Directory(_)) {
                    let has_entry = archive.has_entry(&inside);
                    if !has_entry {
                        dest = self.directory_at(&dest)?;
                    }
                    if has_entry || !self.is_directory(&dest) {
                        self.put_member(&archive, id, &dest, has_entry)?;
                    }
                    todo.push((id, inside, dest));
                } else {
                    self.put_member(&archive, id, &dest, true)?;
                }
            }
        }
        Ok(())
    }

    fn put_member(
        &mut self,
        archive: &Arc<Archive>,
        id: NodeId,
        dest: &[u8],
        has_entry: bool,
    ) -> CopyResult<()> {
        let node = archive.tree.node(id);
        let mut put = Put::of_node(node, 0);
        put.group = put.group.map(|_| self.group(id));
        // A directory without an entry is root's, as for BuildKit.
        if let Some((uid, gid)) = self.attributes.owner.filter(|_| has_entry) {
            (put.meta.uid, put.meta.gid) = (uid, gid);
        }
        if let Item::File(file) = &mut put.item {
            let origin = Origin::Archive(Arc::clone(archive), file.clone());
            file.data = self.data(origin);
        }
        // What another source put there stays a directory: the layer has entries below it.
        if put.item != Item::Directory
            && let Some(Change::Put(there)) = self.changes.get(dest)
            && there.item == Item::Directory
        {
            return Err(self.onto_directory(dest));
        }
        Ok(self.changes.put(dest, put)?)
    }

    /// A directory that meets a link to a directory goes where the link leads (`/lib` of a merged
    /// `/usr`): what is copied must not hide the directory behind the link.
    fn directory_at(&self, path: &[u8]) -> CopyResult<Vec<u8>> {
        if self.changes.get(path).is_some() {
            return Ok(path.to_vec());
        }
        let is_link = |id| matches!(self.lower.node(id).kind, Kind::Symlink(_));
        let Some(_) = self.lower.lookup(path)?.filter(|&id| is_link(id)) else {
            return Ok(path.to_vec());
        };
        match (self.lower.follow(path)?, self.lower.real_path(path)?) {
            (Some(id), Some(real)) if matches!(self.lower.node(id).kind, Kind::Directory(_)) => {
                Ok(real)
            }
            _ => Ok(path.to_vec()),
        }
    }

    fn put(&mut self, path: &[u8], put: Put) -> CopyResult<()> {
        self.make_directories(path::split(path).0, put.meta.mtime, self.made_mode())?;
        match (self.occupant(path), put.item == Item::Directory) {
            (Some(Occupant::Directory), false) => Err(self.onto_directory(path)),
            (Some(Occupant::Other), true) => Err(self.onto_file(path)),
            _ => Ok(self.changes.put(path, put)?),
        }
    }

    fn onto_directory(&self, path: &[u8]) -> StepError {
        let shown = Shown::from(path);
        let message = format!("a file cannot replace `/{shown}`, which is a directory");
        StepError::at(self.span, message)
    }

    fn onto_file(&self, path: &[u8]) -> StepError {
        let shown = Shown::from(path);
        let message = format!("a directory cannot replace `/{shown}`, which is none");
        StepError::at(self.span, message)
    }

    /// Makes the directory `path` and those above it that are not there, for the owner that was asked
    /// for.
    fn make_directories(&mut self, path: &[u8], mtime: Timestamp, mode: u32) -> CopyResult<()> {
        let slashes = path
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| at);
        for end in slashes.chain((!path.is_empty()).then_some(path.len())) {
            let directory = path.get(..end).unwrap_or_default();
            match self.occupant(directory) {
                Some(Occupant::Directory) => {}
                Some(Occupant::Other) => return Err(self.onto_file(directory)),
                None => {
                    let (uid, gid) = self.attributes.owner.unwrap_or_default();
                    let meta = Meta::new(mode, uid, gid, mtime);
                    self.changes.put(directory, Put::directory(meta))?;
                }
            }
        }
        Ok(())
    }

    /// Returns the mode of directories that are made because something is put into them: the one that
    /// was asked for, if it is a number, without set-id bits.
    fn made_mode(&self) -> u32 {
        match self.attributes.mode {
            Some(Chmod::Octal(mode)) => mode & 0o777,
            Some(Chmod::Symbolic(_)) | None => 0o755,
        }
    }

    fn meta(&self, source: &Meta, is_directory: bool, owners: SourceOwners) -> Meta {
        let mut meta = source.clone();
        if owners == SourceOwners::Root {
            (meta.uid, meta.gid) = (0, 0);
        }
        if let Some((uid, gid)) = self.attributes.owner {
            (meta.uid, meta.gid) = (uid, gid);
        }
        match &self.attributes.mode {
            Some(Chmod::Octal(mode)) => meta.mode = *mode,
            // The plan checked the text.
            Some(Chmod::Symbolic(text)) => {
                meta.mode = symbolic(text, meta.mode, is_directory).unwrap_or(meta.mode);
            }
            None => {}
        }
        meta
    }

    fn group(&mut self, id: NodeId) -> u64 {
        let next = self.n_groups;
        let group = *self.groups.entry(id).or_insert(next);
        self.n_groups = self.n_groups.max(group + 1);
        group
    }

    fn data(&mut self, origin: Origin<'a>) -> Data {
        self.files.origins.push(origin);
        Data::External(self.files.origins.len() as u64 - 1)
    }
}
