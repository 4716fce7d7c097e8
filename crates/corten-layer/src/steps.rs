//! The order in which a changeset is written, as a tar or as a directory.

use std::cmp::Ordering;

use crate::changeset::{Change, Changeset, Item, Put};
use crate::{Error, Result, Tree, path};

/// One thing to write.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// The path is deleted.
    Whiteout,
    /// The path becomes this.
    Put(&'a Put),
}

/// Calls `write` for everything that a layer with `changes` to `lower` holds, in order.
///
/// Every ancestor of a changed path comes before it with its true attributes (rule 84), whiteouts
/// come right after their directory (rule 83), and otherwise paths are sorted by component.
pub fn for_each_step(
    lower: &Tree,
    changes: &Changeset,
    mut write: impl FnMut(&[u8], Step<'_>) -> Result<()>,
) -> Result<()> {
    let mut order: Vec<(&[u8], &Change)> = changes.iter().collect();
    // A deletion of what is not there would be a ghost for some readers (rules 20 and 85).
    order.retain(|(path, change)| !matches!(change, Change::Remove) || lower.exact(path).is_some());
    order.sort_by(order_of);
    let mut ancestors = Ancestors {
        lower,
        changes,
        latest: Vec::new(),
    };
    for (path, change) in order {
        for (directory, put) in ancestors.missing_before(path)? {
            write(&directory, Step::Put(&put))?;
        }
        match change {
            Change::Remove => write(path, Step::Whiteout)?,
            Change::Put(put) => write(path, Step::Put(put))?,
        }
    }
    Ok(())
}

/// Orders by component, whiteouts before everything else of their directory.
fn order_of(left: &(&[u8], &Change), right: &(&[u8], &Change)) -> Ordering {
    if is_before_all_in_its_directory(left, right) {
        Ordering::Less
    } else if is_before_all_in_its_directory(right, left) {
        Ordering::Greater
    } else {
        path::compare(left.0, right.0)
    }
}

/// Tells whether `one` is a whiteout, and `other` lies in its directory and is none of that
/// directory's own.
fn is_before_all_in_its_directory(one: &(&[u8], &Change), other: &(&[u8], &Change)) -> bool {
    let (directory, _) = path::split(one.0);
    let is_sibling = || path::split(other.0).0 == directory;
    *one.1 == Change::Remove
        && other.0 != directory
        && path::is_within(other.0, directory)
        && !(*other.1 == Change::Remove && is_sibling())
}

/// The directories that must be written before a path although nothing changes them.
struct Ancestors<'a> {
    lower: &'a Tree,
    changes: &'a Changeset,
    latest: Vec<u8>,
}

impl Ancestors<'_> {
    /// Returns the ancestors of `path` that are neither written yet nor changes themselves.
    fn missing_before(&mut self, path: &[u8]) -> Result<Vec<(Vec<u8>, Put)>> {
        let (parent, _) = path::split(path);
        let mut missing = Vec::new();
        // Paths are sorted: what the last one shares with this one has been seen to.
        let shared = path::common_prefix(&self.latest, parent);
        for end in ends_of_components(parent).filter(|&end| end >= shared) {
            let directory = parent.get(..end).unwrap_or_default();
            if !path::is_within(&self.latest, directory)
                && let Some(put) = self.unchanged(directory)?
            {
                missing.push((directory.to_vec(), put));
            }
        }
        self.latest = parent.to_vec();
        Ok(missing)
    }

    fn unchanged(&self, directory: &[u8]) -> Result<Option<Put>> {
        let not_directory = || Error::WrongKind {
            path: directory.into(),
            expected: "a directory",
        };
        match self.changes.get(directory) {
            Some(Change::Put(Put {
                item: Item::Directory,
                ..
            })) => Ok(None),
            Some(_) => Err(not_directory()),
            None => {
                let not_found = || Error::NotFound {
                    path: directory.into(),
                };
                let id = self.lower.exact(directory).ok_or_else(not_found)?;
                if !self.lower.is_directory(id) {
                    return Err(not_directory());
                }
                Ok(Some(Put::directory(self.lower.node(id).meta.clone())))
            }
        }
    }
}

fn ends_of_components(path: &[u8]) -> impl Iterator<Item = usize> {
    let slashes = path
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| at);
    slashes.chain((!path.is_empty()).then_some(path.len()))
}
