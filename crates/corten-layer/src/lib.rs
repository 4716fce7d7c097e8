//! The tree of an image: resolving layers, comparing trees, writing them out.
//!
//! Layers are read once, by their tar headers; a [`Tree`] is what they amount to. Everything that
//! needs an image's files (unpacking, copying from a stage, listing, comparing) reads the tree, so
//! the rules of layers live in one place, [`apply`].
//!
//! ```
//! use corten_layer::Tree;
//! use corten_spec::{DiffId, Digest};
//! use corten_tar::{Entry, EntryKind, Located};
//!
//! let layer = |name: &str, path: &str| {
//!     let entry = Entry::new(EntryKind::File, path);
//!     (DiffId(Digest::sha256(name.as_bytes())), vec![Located { entry, offset: 512, stored_size: 0 }])
//! };
//! let (base, entries) = layer("base", "etc/motd");
//! let (tree, _) = Tree::new().apply(&base, &entries)?;
//! let (next, entries) = layer("next", "etc/.wh.motd");
//! let (tree, _) = tree.apply(&next, &entries)?;
//! assert!(tree.lookup(b"etc")?.is_some());
//! assert!(tree.lookup(b"etc/motd")?.is_none());
//! # Ok::<(), corten_layer::Error>(())
//! ```

pub mod apply;
mod attributes;
pub mod beneath;
pub mod bytes;
pub mod changeset;
pub mod diff;
pub mod directory;
mod edit;
pub mod emit;
pub mod erofs;
pub mod error;
pub mod index;
mod marks;
pub mod owners;
pub mod path;
pub mod report;
pub mod scan;
pub mod steps;
pub mod tree;
mod tree_builder;
pub mod upper;
pub mod users;

pub use apply::{RULES, Resolver};
pub use bytes::{Contents, LayerBytes};
pub use changeset::{Change, Changeset, Item, Put};
pub use error::{Error, Result};
pub use path::Shown;
pub use report::{Finding, Notice, Report};
pub use tree::{Data, Directory, File, Kind, Meta, Node, NodeId, Tree};
pub use tree_builder::TreeBuilder;
