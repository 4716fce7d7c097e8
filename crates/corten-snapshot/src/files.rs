//! The files of a stack of layers in one sorted table, so that a path is found without reading the rest.
//!
//! It is the tree of the layers, written down by ChainID and rules. Directories are numbered, the root is
//! 0; the key of a name is the number of its directory, big-endian, and the name, so that the names of
//! one directory lie together; the root's own key is empty. A value is a record, numbers little-endian:
//!
//! ```text
//! kind u8    0 file, 1 directory, 2 symlink, 3 character device, 4 block device, 5 FIFO
//! mode u32   uid u32   gid u32   seconds i64   nanoseconds u32   names u32   layer u32
//! file       size u64, layer u32, offset u64, number of segments + 1 or 0 u32, (offset u64, length u64)*
//! directory  its number u32
//! symlink    length u32, target
//! device     major u32, minor u32
//! extended   two lists, attributes and records: count u32, (length u32, name, length u32, value)*
//! ```

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::PathBuf;

use corten_layer::{Kind, Node, RULES, Tree};
use corten_spec::{ChainId, DiffId, Digest};

use crate::node::{read_node, write_node};
use crate::snapshots::{Shelf, remove};
use crate::table::{Table, TableError, TableWriter};
use crate::{Error, LayerRef, Result, Snapshots};

/// The version of the records that [`write_tree`] writes.
const VERSION: u32 = 1;

/// The files that a stack of layers amounts to, looked up one by one.
#[derive(Debug)]
pub struct FileTable {
    table: Table,
    path: PathBuf,
}

/// Names a directory of one [`FileTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DirectoryNumber(pub(crate) u32);

/// What a table says about a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its inode; a directory's own names are not in it.
    pub node: Node,
    /// The directory that it is, if it is one.
    pub directory: Option<DirectoryNumber>,
}

impl Snapshots<'_> {
    /// Opens the table of the files of `layers`. If there is none, the tree is computed and written down
    /// once; from then on, finding a file reads a few blocks, however large the image.
    pub fn files(&self, layers: &[LayerRef]) -> Result<FileTable> {
        let diff_ids: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let path = self.place(Shelf::Files, &name_of(&diff_ids))?;
        match File::open(&path) {
            Ok(file) => match Table::open(file) {
                Ok(table) => return Ok(FileTable { table, path }),
                // Such as one cut short by a power failure: it is made again.
                Err(TableError::Damaged | TableError::Io(_)) => {}
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::system("open", path)(error)),
        }
        let tree = self.tree(layers)?;
        let temporary = self.unfinished()?;
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&*temporary)
            .map_err(Error::system("create", &*temporary))?;
        let file = write_tree(&tree, file).map_err(Error::system("write", &*temporary))?;
        temporary.rename(&path)?;
        match Table::open(file) {
            Ok(table) => Ok(FileTable { table, path }),
            Err(error) => Err(failed(path, error)),
        }
    }
}

/// Returns what the table of a stack of layers is called: its ChainID counts, and what was made of the
/// layers by which rules. No layers have a table, too.
pub(crate) fn name_of(stack: &[DiffId]) -> Digest {
    let chain = ChainId::of(stack).map_or_else(String::new, |chain| chain.to_string());
    Digest::sha256(format!("files {RULES} {VERSION}\n{chain}\n").as_bytes())
}

fn write_tree(tree: &Tree, file: File) -> io::Result<File> {
    let mut writer = TableWriter::new(BufWriter::with_capacity(256 << 10, file))?;
    let mut record = Vec::new();
    let mut directories = vec![Tree::ROOT];
    write_node(&mut record, tree.node(Tree::ROOT), 0);
    writer.add(b"", &record)?;
    let mut number = 0_u32;
    // Numbers are given in the order in which directories are met, and followed in that order: keys
    // only grow.
    while let Some(&directory) = directories.get(number as usize) {
        for (name, id) in tree.children(directory) {
            let node = tree.node(id);
            let own = u32::try_from(directories.len()).map_err(io::Error::other)?;
            record.clear();
            write_node(&mut record, node, own);
            writer.add(&[&number.to_be_bytes(), name].concat(), &record)?;
            if matches!(node.kind, Kind::Directory(_)) {
                directories.push(id);
            }
        }
        number += 1;
    }
    writer
        .finish()?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
}

impl FileTable {
    /// Returns the root.
    pub fn root(&self) -> Result<Stored> {
        let found = self.table.get(b"").map_err(|error| self.failed(error))?;
        let root = found.and_then(|record| stored(&record));
        root.ok_or_else(|| self.failed(TableError::Damaged))
    }

    /// Returns what `name` is in `directory`.
    pub fn child(&self, directory: DirectoryNumber, name: &[u8]) -> Result<Option<Stored>> {
        let key = [&directory.0.to_be_bytes(), name].concat();
        let found = self.table.get(&key).map_err(|error| self.failed(error))?;
        found
            .map(|record| stored(&record).ok_or_else(|| self.failed(TableError::Damaged)))
            .transpose()
    }

    /// Returns what is in `directory`, sorted by name.
    pub fn children(&self, directory: DirectoryNumber) -> Result<Vec<(Vec<u8>, Stored)>> {
        let prefix = directory.0.to_be_bytes();
        let mut children = Vec::new();
        self.table
            .scan(&prefix, &mut |key, record| {
                let name = key.get(prefix.len()..).unwrap_or_default().to_vec();
                children.push((name, stored(record).ok_or(TableError::Damaged)?));
                Ok(())
            })
            .map_err(|error| self.failed(error))?;
        Ok(children)
    }

    /// Returns how many bytes of the table were read so far.
    pub fn n_read(&self) -> u64 {
        self.table.n_read()
    }

    fn failed(&self, error: TableError) -> Error {
        failed(self.path.clone(), error)
    }
}

/// A damaged table goes, so that the next who needs it makes it again.
fn failed(path: PathBuf, error: TableError) -> Error {
    match error {
        TableError::Io(source) => Error::system("read", path)(source),
        TableError::Damaged => match remove(&path) {
            Ok(()) => Error::DamagedTable { path },
            Err(error) => error,
        },
    }
}

fn stored(record: &[u8]) -> Option<Stored> {
    let (node, own) = read_node(record)?;
    let directory = matches!(node.kind, Kind::Directory(_)).then_some(DirectoryNumber(own));
    Some(Stored { node, directory })
}
