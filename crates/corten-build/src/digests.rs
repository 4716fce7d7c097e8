//! Digests of what a COPY takes, for its key: content and attributes, never times.

mod known;

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use corten_content::Store;
use corten_layer::tree::{File, Kind, Node};
use corten_layer::{Contents, NodeId, Tree, path};
use corten_spec::{Algorithm, Digest, Hasher};

pub(crate) use known::{Stamp, directory};

use crate::commit::check_sizes;
use crate::copy::{Filter, Selected, SourceTree, Why};
use crate::explain::{FileKind, Hash, Note, hash_of};
use crate::key::Key;
use crate::{Error, Result};
use known::Known;

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
    let files: Vec<(&[u8], &File)> = places
        .iter()
        .filter_map(|place| match &source.tree.node(place.node).kind {
            Kind::File(file) => Some((place.path.as_slice(), file)),
            Kind::Directory(_) | Kind::Symlink(_) | Kind::Device { .. } | Kind::Fifo => None,
        })
        .collect();
    check_sizes(sizes(&places, source.tree), max_bytes)?;
    let mut digests = digests_of(store, &files, source)?.into_iter();
    let mut links = HashMap::new();
    key.count(places.len());
    for (number, place) in places.iter().enumerate() {
        if place.depth == 0 {
            links.clear();
        }
        let node = source.tree.node(place.node);
        if place.depth == 0 && matches!(node.kind, Kind::Directory(_)) {
            // Only what is in it is copied.
            key.text("content");
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
        add_place(key, place, node, number - first, &content);
    }
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
fn add_place(key: &mut Key, place: &Place, node: &Node, to_link: usize, content: &Hash) {
    key.number(place.depth);
    key.bytes(path::split(&place.path).1);
    key.number(i64::from(place.why == Why::Parent));
    for number in [node.meta.mode, node.meta.uid, node.meta.gid] {
        key.number(i64::from(number));
    }
    let xattrs = node.meta.xattrs();
    key.count(xattrs.len());
    let mut rest = Rest::default();
    rest.add(&node.meta.uid.to_le_bytes());
    rest.add(&node.meta.gid.to_le_bytes());
    for (name, value) in xattrs {
        key.bytes(name);
        key.bytes(value);
        rest.add(name);
        rest.add(value);
    }
    key.count(to_link);
    let mut content = *content;
    let kind = match &node.kind {
        Kind::File(_) => {
            key.text("file");
            key.bytes(&content);
            FileKind::File
        }
        Kind::Directory(_) => {
            key.text("directory");
            FileKind::Directory
        }
        Kind::Symlink(target) => {
            key.text("symlink");
            key.bytes(target);
            content = hash_of(&Digest::sha256(target));
            FileKind::Symlink
        }
        Kind::Device {
            block,
            major,
            minor,
        } => {
            key.text(if *block { "block" } else { "char" });
            key.number(i64::from(*major));
            key.number(i64::from(*minor));
            rest.add(&major.to_le_bytes());
            rest.add(&minor.to_le_bytes());
            FileKind::Other
        }
        Kind::Fifo => {
            key.text("fifo");
            FileKind::Other
        }
    };
    key.account().files.push(&Note {
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

/// Returns the digests of `files`, in their order: those that are known, and the others computed.
fn digests_of(
    store: &Store,
    files: &[(&[u8], &File)],
    source: &SourceTree<'_>,
) -> Result<Vec<Hash>> {
    let Some(host) = source.host else {
        return compute(files, source.contents);
    };
    let known = Known::open(store, host);
    let stamps: Vec<_> = files.iter().map(|(_, file)| host.stamp(file)).collect();
    let find = |stamp: &Option<Stamp>| stamp.as_ref().and_then(|stamp| known.find(stamp));
    let mut digests: Vec<Option<Hash>> = stamps.iter().map(find).collect();
    let unknown = |(file, digest): (&_, &Option<Hash>)| digest.is_none().then_some(*file);
    let missing: Vec<_> = files.iter().zip(&digests).filter_map(unknown).collect();
    // Before the first of them is opened: what changes from now on gets a later time.
    let now = SystemTime::now();
    let mut computed = compute(&missing, source.contents)?.into_iter();
    let mut new = Vec::new();
    for (digest, stamp) in digests.iter_mut().zip(&stamps) {
        if digest.is_none() {
            *digest = computed.next();
            if let (Some(stamp), Some(digest)) = (stamp, digest) {
                new.push((*stamp, *digest));
            }
        }
    }
    // What cannot be kept is computed again the next time.
    known.add(new, now).ok();
    Ok(digests.into_iter().flatten().collect())
}

/// Returns the digests of `files`, in their order, computed on two threads.
fn compute(files: &[(&[u8], &File)], contents: &dyn Contents) -> Result<Vec<Hash>> {
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
            for (number, (path, file)) in run {
                let digest = digest_of(path, file, contents, &mut buf)?;
                digests.push((number, hash_of(&digest)));
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

fn digest_of(path: &[u8], file: &File, contents: &dyn Contents, buf: &mut [u8]) -> Result<Digest> {
    let failed = |source| {
        Error::from(corten_layer::Error::Content {
            path: path.into(),
            source,
        })
    };
    let mut hasher = Hasher::new(Algorithm::Sha256);
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
    Ok(hasher.finish())
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
