//! Digests of what a COPY takes, for its key: content and attributes, never times.

mod known;

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use corten_content::Store;
use corten_layer::tree::{File, Kind, Node};
use corten_layer::{Contents, NodeId, Tree, path};

pub(crate) use known::{Known, Remembered, Stamp, directory};

use crate::commit::check_sizes;
use crate::copy::{Filter, Selected, SourceTree, Why};
use crate::explain::{FileKind, Files, Hash, Note};
use crate::key::{Key, Listing};
use crate::{Error, Result};

/// Adds what is `selected` in `source`, with all that is below, to `key`: names, types, modes,
/// owners, attributes, contents and links.
///
/// # Errors
/// Among others, that the files have more than `max_bytes`, before any of them is read.
pub(crate) fn add_selected<'a>(
    key: &mut Key,
    store: &Store,
    source: &SourceTree<'_>,
    selected: impl Iterator<Item = (&'a Selected, &'a Filter)>,
    max_bytes: u64,
) -> Result<()> {
    let mut places = Vec::new();
    for (one, filter) in selected {
        add_below(&mut places, source.tree, one, filter);
    }
    let files: Vec<Taken<'_>> = places
        .iter()
        .filter_map(|place| {
            let node = source.tree.node(place.node);
            let Kind::File(file) = &node.kind else {
                return None;
            };
            Some(Taken {
                path: &place.path,
                file,
                is_plain: node.meta.xattrs().is_empty(),
            })
        })
        .collect();
    check_sizes(sizes(&places, source.tree), max_bytes)?;
    let mut digests = digests_of(store, &files, source)?.into_iter();
    let mut links = HashMap::new();
    let mut listing = Listing::default();
    listing.count(places.len());
    for (number, place) in places.iter().enumerate() {
        if place.depth == 0 {
            links.clear();
        }
        let node = source.tree.node(place.node);
        if place.depth == 0 && matches!(node.kind, Kind::Directory(_)) {
            // Only what is in it is copied.
            listing.text("content");
            continue;
        }
        // Numbers of inodes differ from machine to machine; which names share one does not.
        let first = match node.n_links {
            0 | 1 => number,
            _ => *links.entry(place.node).or_insert(number),
        };
        let content = match &node.kind {
            Kind::File(_) => digests.next().unwrap_or_default(),
            Kind::Directory(_) | Kind::Symlink(_) | Kind::Device { .. } | Kind::Fifo => {
                Hash::default()
            }
        };
        let notes = &mut key.account().files;
        add_place(&mut listing, notes, place, node, number - first, content);
    }
    key.listing(listing);
    Ok(())
}

/// Adds the mode, the owner and the attributes of a directory itself, of which a COPY takes only what is
/// in it and a mount shows all.
pub(crate) fn add_directory_itself(key: &mut Key, node: &Node) {
    for number in [node.meta.mode, node.meta.uid, node.meta.gid] {
        key.number(i64::from(number));
    }
    let xattrs = node.meta.xattrs();
    key.count(xattrs.len());
    for (name, value) in xattrs {
        key.bytes(name);
        key.bytes(value);
    }
}

/// Adds one path. `to_link` is how many places before it the same file was, 0 for none.
fn add_place(
    listing: &mut Listing,
    notes: &mut Files,
    place: &Place,
    node: &Node,
    to_link: usize,
    mut content: Hash,
) {
    listing.number(place.depth);
    listing.bytes(path::split(&place.path).1);
    listing.number(i64::from(place.why == Why::Parent));
    for number in [node.meta.mode, node.meta.uid, node.meta.gid] {
        listing.number(i64::from(number));
    }
    let xattrs = node.meta.xattrs();
    listing.count(xattrs.len());
    let mut rest = Rest::default();
    rest.add(&node.meta.uid.to_le_bytes());
    rest.add(&node.meta.gid.to_le_bytes());
    for (name, value) in xattrs {
        listing.bytes(name);
        listing.bytes(value);
        rest.add(name);
        rest.add(value);
    }
    listing.count(to_link);
    let kind = match &node.kind {
        Kind::File(_) => {
            listing.text("file");
            listing.bytes(&content);
            FileKind::File
        }
        Kind::Directory(_) => {
            listing.text("directory");
            FileKind::Directory
        }
        Kind::Symlink(target) => {
            listing.text("symlink");
            listing.bytes(target);
            content = *blake3::hash(target).as_bytes();
            FileKind::Symlink
        }
        Kind::Device {
            block,
            major,
            minor,
        } => {
            listing.text(if *block { "block" } else { "char" });
            listing.number(i64::from(*major));
            listing.number(i64::from(*minor));
            rest.add(&major.to_le_bytes());
            rest.add(&minor.to_le_bytes());
            FileKind::Other
        }
        Kind::Fifo => {
            listing.text("fifo");
            FileKind::Other
        }
    };
    notes.push(&Note {
        path: &place.path,
        kind,
        mode: node.meta.mode,
        rest: rest.0,
        content,
    });
}

/// A digest that only has to show a change to who asks why a step was no hit (FNV-1a).
struct Rest(u32);

impl Default for Rest {
    fn default() -> Self {
        Self(0x811c_9dc5)
    }
}

impl Rest {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
}

/// A path of the source, and how far below what was selected it is.
struct Place {
    path: Vec<u8>,
    node: NodeId,
    depth: i64,
    why: Why,
}

fn add_below(places: &mut Vec<Place>, tree: &Tree, selected: &Selected, filter: &Filter) {
    places.push(Place {
        path: selected.path.clone(),
        node: selected.node,
        depth: 0,
        why: Why::Itself,
    });
    places.extend(filter.below(tree, selected.node).into_iter().map(|taken| {
        let n_names = taken.path.split(|byte| *byte == b'/').count();
        Place {
            depth: i64::try_from(n_names).unwrap_or(i64::MAX),
            path: path::join(&selected.path, &taken.path),
            node: taken.node,
            why: taken.why,
        }
    }));
}

/// Returns each file of `places`, with its size; a file of several names once, as it may be copied.
fn sizes<'a>(places: &'a [Place], tree: &'a Tree) -> impl Iterator<Item = (&'a [u8], u64)> {
    let mut seen = HashSet::new();
    places.iter().filter_map(move |place| {
        let Kind::File(file) = &tree.node(place.node).kind else {
            return None;
        };
        let is_new = seen.insert(place.node);
        is_new.then_some((place.path.as_slice(), file.size))
    })
}

/// A file that is taken.
#[derive(Clone, Copy)]
struct Taken<'a> {
    path: &'a [u8],
    file: &'a File,
    is_plain: bool,
}

/// Returns the digests of `files`, in their order: those that are known, and the others computed.
fn digests_of(store: &Store, files: &[Taken<'_>], source: &SourceTree<'_>) -> Result<Vec<Hash>> {
    let Some(host) = source.host else {
        return compute(files, source.contents);
    };
    // Another step may have added to it since the files were examined.
    let known = Known::open(store, host.root());
    let stamps: Vec<_> = files.iter().map(|taken| host.stamp(taken.file)).collect();
    let find = |stamp: &Option<Stamp>| Some(known.find(stamp.as_ref()?)?.digest);
    let mut digests: Vec<Option<Hash>> = stamps.iter().map(find).collect();
    let unknown = |(file, digest): (&_, &Option<Hash>)| digest.is_none().then_some(*file);
    let missing: Vec<_> = files.iter().zip(&digests).filter_map(unknown).collect();
    // Before the first of them is opened, and before its attributes were read: what changes from then on
    // gets a later time.
    let read_at = host.examined_at();
    let mut computed = compute(&missing, source.contents)?.into_iter();
    let mut new = Vec::new();
    for ((digest, stamp), taken) in digests.iter_mut().zip(&stamps).zip(files) {
        if digest.is_none() {
            *digest = computed.next();
            if let (Some(stamp), Some(digest)) = (*stamp, *digest) {
                let is_plain = taken.is_plain;
                new.push((stamp, Remembered { digest, is_plain }));
            }
        }
    }
    // What cannot be kept is computed again the next time.
    known.add(new, read_at).ok();
    Ok(digests.into_iter().flatten().collect())
}

/// Returns the digests of `files`, in their order, computed on two threads.
fn compute(files: &[Taken<'_>], contents: &dyn Contents) -> Result<Vec<Hash>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(files.len()));
    let work = || -> Result<()> {
        let mut buf = vec![0; 128 << 10];
        loop {
            // A run of files at a time: taking a number for each costs as much as small files do.
            let start = next.fetch_add(RUN, Ordering::Relaxed);
            let run: Vec<_> = files.iter().enumerate().skip(start).take(RUN).collect();
            if run.is_empty() {
                return Ok(());
            }
            let mut digests = Vec::with_capacity(RUN);
            for (number, taken) in run {
                let digest = digest_of(taken.path, taken.file, contents, &mut buf)?;
                digests.push((number, digest));
            }
            results
                .lock()
                .expect("no panic holds it")
                .append(&mut digests);
        }
    };
    let n_threads = if files.len() < 2 * RUN { 1 } else { 2 };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..n_threads).map(|_| scope.spawn(work)).collect();
        let mine = work();
        for thread in threads {
            thread.join().expect("hashing does not panic")?;
        }
        mine
    })?;
    let mut results = results.into_inner().expect("no panic holds it");
    results.sort_unstable_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, digest)| digest).collect())
}

const RUN: usize = 32;

fn digest_of(path: &[u8], file: &File, contents: &dyn Contents, buf: &mut [u8]) -> Result<Hash> {
    let failed = |source| {
        Error::from(corten_layer::Error::Content {
            path: path.into(),
            source,
        })
    };
    let mut hasher = blake3::Hasher::new();
    let mut content = contents.open(file).map_err(failed)?;
    let mut left = file.size;
    // The end is known: looking for it would be one more call for each file.
    while left > 0 {
        let n_read = content.read(buf).map_err(failed)?;
        if n_read == 0 {
            return Err(corten_layer::Error::Changed {
                path: path.into(),
                expected: file.size,
            }
            .into());
        }
        hasher.update(buf.get(..n_read).unwrap_or_default());
        left = left.saturating_sub(n_read as u64);
    }
    Ok(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use corten_layer::TreeBuilder;
    use corten_layer::tree::Meta;

    use super::*;
    use crate::explain::Ledger;

    #[test]
    fn a_mounted_directory_counts_itself() {
        let key = |change: &dyn Fn(&mut Meta)| {
            let mut meta = Tree::default().node(Tree::ROOT).meta.clone();
            change(&mut meta);
            let tree = TreeBuilder::new(meta).finish();
            let mut key = Key::new("x", &Ledger::default());
            add_directory_itself(&mut key, tree.node(Tree::ROOT));
            key.finish()
        };
        let same = key(&|_| {});
        assert_ne!(key(&|meta| meta.mode = 0o1700), same);
        assert_ne!(key(&|meta| meta.uid = 7), same);
        assert_ne!(key(&|meta| meta.gid = 7), same);
    }
}
