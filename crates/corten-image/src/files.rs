//! The files of an image, found and read without unpacking it.
//!
//! A path is resolved as the kernel would in a chroot, one name after the other, each a lookup in the
//! table that [`Snapshots::files`] keeps: what is read does not grow with the image. That a path leads
//! here to what it leads to in the tree is a property test.

use std::io::Read;

use corten_layer::bytes::open_file;
use corten_layer::path::join;
use corten_layer::{File, Kind, Node, Shown, Tree};
use corten_snapshot::{DirectoryNumber, Excerpts, FileTable, LayerRef, Snapshots, Stored};

use crate::near::near;
use crate::{Error, Result};

/// How many symbolic links one path may lead through, as in the kernel.
const MAX_LINKS: usize = 40;

/// The files of an image.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # use corten_content::{Store, load_image};
/// # use corten_image::{Archive, Files, ImportOptions, Links, import};
/// # use corten_snapshot::{Snapshots, layers_of};
/// # use corten_spec::Platform;
/// # let store = Store::open(dir.path())?;
/// # let mut tar = corten_tar::Writer::new(Vec::new());
/// # let mut entry = corten_tar::Entry::new(corten_tar::EntryKind::File, "etc/motd");
/// # entry.size = 6;
/// # tar.entry(&entry, &mut &b"hello\n"[..]).unwrap();
/// # let tar = tar.finish().unwrap();
/// # let options = ImportOptions::new(Platform::new("linux", "amd64"));
/// # let image = import(&store, Archive::Stream(Box::new(std::io::Cursor::new(tar))), &options)?;
/// # let image = load_image(&store, &image, &options.platform)?;
/// let files = Files::open(&Snapshots::new(&store), &layers_of(&image)?)?;
/// let names = files.list(&files.find(b"/etc", Links::Follow)?)?;
/// assert_eq!(names[0].path, b"etc/motd");
/// let mut content = String::new();
/// std::io::Read::read_to_string(&mut files.read(&names[0])?, &mut content).unwrap();
/// assert_eq!(content, "hello\n");
/// # Ok::<(), corten_image::Error>(())
/// ```
#[derive(Debug)]
pub struct Files<'a> {
    table: FileTable,
    /// It has no files: it tells what the numbers of layers in inodes stand for.
    layers: Tree,
    bytes: Excerpts<'a>,
}

/// A path of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The canonical path, without a slash at its start; empty for the root.
    pub path: Vec<u8>,
    /// What it is; a directory's own names are not in it.
    pub node: Node,
    directory: Option<DirectoryNumber>,
}

/// What becomes of a symbolic link at the end of a path; those before it are always followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// It is followed.
    Follow,
    /// It is what was meant.
    Keep,
}

impl<'a> Files<'a> {
    /// Opens the files of `layers`.
    pub fn open(snapshots: &Snapshots<'a>, layers: &[LayerRef]) -> Result<Self> {
        let table = snapshots.files(layers)?;
        let mut tree = Tree::new();
        for layer in layers {
            let applied = tree.apply(&layer.diff_id, []);
            tree = applied.map_err(corten_snapshot::Error::from)?.0;
        }
        Ok(Self {
            table,
            layers: tree,
            bytes: Excerpts::new(snapshots.clone(), layers),
        })
    }

    /// Finds `path`, which is taken to start at the root.
    ///
    /// # Errors
    /// [`Error::NoFile`] says how far the path leads and what is near there.
    pub fn find(&self, path: &[u8], links: Links) -> Result<Found> {
        let mut todo = names_of(path);
        let mut stack = vec![Found::new(Vec::new(), self.table.root()?)];
        let mut n_links = 0;
        while let Some(name) = todo.pop() {
            let here = stack.last().map_or(&[][..], std::slice::from_ref);
            let Some(here) = here.first() else { break };
            let Some(directory) = here.directory else {
                return Err(Error::NotDirectory {
                    path: here.path.as_slice().into(),
                });
            };
            if name == b".." {
                // The root is its own parent.
                stack.truncate(stack.len().saturating_sub(1).max(1));
                continue;
            }
            let Some(child) = self.table.child(directory, &name)? else {
                return Err(self.nothing(here, directory, &name));
            };
            match &child.node.kind {
                Kind::Symlink(target) if !todo.is_empty() || links == Links::Follow => {
                    n_links += 1;
                    if n_links > MAX_LINKS {
                        let path = path.into();
                        let source = corten_layer::Error::Loop { path };
                        return Err(corten_snapshot::Error::from(source).into());
                    }
                    if target.starts_with(b"/") {
                        stack.truncate(1);
                    }
                    todo.extend(names_of(target));
                }
                _ => {
                    let found = Found::new(join(&here.path, &name), child);
                    stack.push(found);
                }
            }
        }
        stack
            .pop()
            .ok_or_else(|| Error::NotDirectory { path: path.into() })
    }

    /// Returns what is in a directory, sorted by name.
    pub fn list(&self, directory: &Found) -> Result<Vec<Found>> {
        let Some(number) = directory.directory else {
            return Err(Error::NotDirectory {
                path: directory.path.as_slice().into(),
            });
        };
        let children = self.table.children(number)?.into_iter();
        Ok(children
            .map(|(name, stored)| Found::new(join(&directory.path, &name), stored))
            .collect())
    }

    /// Calls `visit` for everything below a directory, parents first, sorted by component.
    ///
    /// # Errors
    /// Stops at the first error of `visit`.
    pub fn walk<E: From<Error>>(
        &self,
        directory: &Found,
        visit: &mut dyn FnMut(&Found) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut todo = self.list(directory)?;
        todo.reverse();
        while let Some(found) = todo.pop() {
            visit(&found)?;
            if found.directory.is_some() {
                let start = todo.len();
                todo.extend(self.list(&found)?);
                if let Some(added) = todo.get_mut(start..) {
                    added.reverse();
                }
            }
        }
        Ok(())
    }

    /// Opens the content of a regular file; holes are read as zeros.
    pub fn read<'f>(&'f self, found: &'f Found) -> Result<Box<dyn Read + Send + 'f>> {
        let file = self.file(found)?;
        open_file(&self.layers, &self.bytes, file).map_err(Error::system("read", &found.path()))
    }

    /// Returns the layer that wrote `found`, counted from 1; 0 is the root that no layer mentions.
    pub fn layer_of(&self, found: &Found) -> u32 {
        found.node.layer
    }

    /// Returns how many bytes of the table were read, and how many bytes of layers were inflated.
    pub fn cost(&self) -> (u64, u64) {
        (self.table.n_read(), self.bytes.n_inflated())
    }

    /// Tells whether `found` has content that can be read.
    ///
    /// # Errors
    /// [`Error::NotFile`] says what it is.
    pub fn file<'f>(&self, found: &'f Found) -> Result<&'f File> {
        match &found.node.kind {
            Kind::File(file) => Ok(file),
            kind => Err(Error::NotFile {
                path: found.path.as_slice().into(),
                kind: name_of(kind),
            }),
        }
    }

    fn nothing(&self, here: &Found, directory: DirectoryNumber, name: &[u8]) -> Error {
        // The error is worth a look at what is there, and not worth another error.
        let children = self.table.children(directory).unwrap_or_default();
        let names = children.iter().map(|(name, _)| name.as_slice());
        Error::NoFile {
            path: Shown::from(join(&here.path, name).as_slice()),
            directory: here.path.as_slice().into(),
            near: near(name, names).into_iter().map(Shown::from).collect(),
        }
    }
}

impl Found {
    fn new(path: Vec<u8>, stored: Stored) -> Self {
        Self {
            path,
            node: stored.node,
            directory: stored.directory,
        }
    }

    fn path(&self) -> std::path::PathBuf {
        Shown::from(self.path.as_slice()).as_str().into()
    }
}

/// Returns what people call a kind of inode.
pub fn name_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::File(_) => "file",
        Kind::Directory(_) => "directory",
        Kind::Symlink(_) => "symbolic link",
        Kind::Device { block: true, .. } => "block device",
        Kind::Device { block: false, .. } => "character device",
        Kind::Fifo => "FIFO",
    }
}

/// Returns the names of `path`, last first: a stack of what is left to walk.
fn names_of(path: &[u8]) -> Vec<Vec<u8>> {
    path.rsplit(|&byte| byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
        .map(<[u8]>::to_vec)
        .collect()
}
