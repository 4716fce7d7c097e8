//! The kinds of roots, and which one an image gets.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use corten_layer::beneath::Root;
use corten_layer::bytes::TreeContents;
use corten_layer::directory::{Devices, DirectoryOptions, Owners, write_tree};

use crate::bytes::Bytes;
use crate::erofs::try_erofs;
use crate::snapshots::remove;
use crate::{ErofsRoot, Error, LayerRef, Result, Snapshots};

/// How the files of an image are had as a directory. All kinds show the same tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootKind {
    /// An EROFS index over the tars of the layers: nothing is unpacked. Linux 6.12 and newer, and root
    /// of the machine.
    Erofs,
    /// A directory for each layer, stacked by overlayfs.
    Overlay,
    /// One directory of all files, of its own for each use.
    Plain,
}

impl RootKind {
    /// All kinds, the cheapest first.
    pub const ALL: [Self; 3] = [Self::Erofs, Self::Overlay, Self::Plain];

    /// Returns the kind's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Overlay => "overlay",
            Self::Plain => "plain",
        }
    }
}

impl fmt::Display for RootKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where the files of an image are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootFiles {
    /// In the tars that an index points into.
    Erofs(ErofsRoot),
    /// In directories, the topmost first.
    Overlay(Vec<PathBuf>),
    /// In one directory, in a temporary one that is its user's to remove.
    Plain {
        /// The directory of the files.
        files: PathBuf,
        /// What is to be removed.
        temporary: PathBuf,
    },
}

/// The files of an image, ready to be mounted.
#[derive(Debug)]
pub struct PreparedRoot {
    /// The files.
    pub files: RootFiles,
    /// Kinds that would have been better and cannot be used, with the reason.
    pub passed_over: Vec<Error>,
}

impl RootFiles {
    /// Returns which kind it is.
    pub fn kind(&self) -> RootKind {
        match self {
            Self::Erofs(_) => RootKind::Erofs,
            Self::Overlay(_) => RootKind::Overlay,
            Self::Plain { .. } => RootKind::Plain,
        }
    }
}

impl Snapshots<'_> {
    /// Makes the files of `layers` ready by the first of `kinds` that can be used. EROFS is tried for
    /// real; whether a stack of directories can be mounted is found out by who mounts it.
    ///
    /// # Errors
    /// Fails if none can, with what is wrong with the last, and for a layer that does not verify.
    pub fn prepare(
        &self,
        layers: &[LayerRef],
        kinds: &[RootKind],
        devices: Devices,
    ) -> Result<PreparedRoot> {
        let mut passed_over = Vec::new();
        let mut left = kinds.iter();
        loop {
            let kind = *left.next().unwrap_or(&RootKind::Plain);
            match self.root_files(layers, kind, devices) {
                Ok(files) => return Ok(PreparedRoot { files, passed_over }),
                Err(error) if is_of_kind(kind, &error) => {
                    let error = Error::KindUnusable {
                        kind,
                        source: Box::new(error),
                    };
                    if left.as_slice().is_empty() {
                        return Err(error);
                    }
                    passed_over.push(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn root_files(
        &self,
        layers: &[LayerRef],
        kind: RootKind,
        devices: Devices,
    ) -> Result<RootFiles> {
        match kind {
            RootKind::Erofs => {
                // Before any tar is made in vain.
                try_erofs(&self.temporary()?)?;
                Ok(RootFiles::Erofs(self.erofs(layers)?))
            }
            RootKind::Overlay => Ok(RootFiles::Overlay(self.directories(layers, devices)?)),
            RootKind::Plain => self.plain(layers, devices),
        }
    }

    fn plain(&self, layers: &[LayerRef], devices: Devices) -> Result<RootFiles> {
        let tree = self.tree(layers)?;
        let temporary = self.temporary()?;
        let files = temporary.join("fs");
        fs::create_dir_all(&files).map_err(Error::system("create", &files))?;
        let bytes = Bytes::new(self.clone(), layers);
        let contents = TreeContents {
            tree: &tree,
            bytes: &bytes,
        };
        let written = Root::open(&files)
            .and_then(|root| write_tree(&tree, &contents, &root, &options(devices)));
        match written {
            Ok(_) => Ok(RootFiles::Plain { files, temporary }),
            Err(error) => {
                remove(&temporary)?;
                Err(error.into())
            }
        }
    }
}

pub(crate) fn options(devices: Devices) -> DirectoryOptions {
    DirectoryOptions {
        owners: Owners::Set,
        devices,
        threads: 2,
    }
}

/// Tells whether an error is about the kind and not about the image or the store.
fn is_of_kind(kind: RootKind, error: &Error) -> bool {
    match error {
        Error::Layer(
            corten_layer::Error::Unindexable { .. }
            | corten_layer::Error::IndexLimit { .. }
            | corten_layer::Error::Unrepresentable { .. },
        ) => true,
        Error::OfImage { source, .. } => is_of_kind(kind, source),
        Error::System { action, .. } => {
            kind == RootKind::Erofs && matches!(*action, "mount" | "read from")
        }
        _ => false,
    }
}
