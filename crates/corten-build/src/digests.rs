//! Digests of what a COPY takes, for its key: content and attributes, never times.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use corten_layer::tree::{File, Kind};
use corten_layer::{Contents, NodeId, Tree, path};
use corten_spec::{Algorithm, Digest, Hasher};

use crate::copy::{Selected, SourceTree};
use crate::key::Key;
use crate::{Error, Result};

/// Adds what is `selected` in `source`, with all that is below, to `key`: names, types, modes,
/// owners, attributes, contents and links.
pub(crate) fn add_selected<'a>(
    key: &mut Key,
    source: &SourceTree<'_>,
    selected: impl Iterator<Item = &'a Selected>,
) -> Result<()> {
    let mut places = Vec::new();
    for one in selected {
        add_below(&mut places, source.tree, one);
    }
    let files: Vec<(&[u8], &File)> = places
        .iter()
        .filter_map(|place| match &source.tree.node(place.node).kind {
            Kind::File(file) => Some((place.path.as_slice(), file)),
            Kind::Directory(_) | Kind::Symlink(_) | Kind::Device { .. } | Kind::Fifo => None,
        })
        .collect();
    let mut digests = digests_of(&files, source.contents)?.into_iter();
    let mut links = HashMap::new();
    for (number, place) in places.iter().enumerate() {
        if place.depth == 0 {
            links.clear();
        }
        key.number(place.depth);
        key.bytes(path::split(&place.path).1);
        let node = source.tree.node(place.node);
        for number in [node.meta.mode, node.meta.uid, node.meta.gid] {
            key.number(i64::from(number));
        }
        let xattrs = node.meta.xattrs();
        key.number(i64::try_from(xattrs.len()).unwrap_or(i64::MAX));
        for (name, value) in xattrs {
            key.bytes(name);
            key.bytes(value);
        }
        // Numbers of inodes differ from machine to machine; which names share one does not.
        let first = match node.n_links {
            0 | 1 => number,
            _ => *links.entry(place.node).or_insert(number),
        };
        key.number(i64::try_from(number - first).unwrap_or(i64::MAX));
        match &node.kind {
            Kind::File(_) => key.text(digests.next().as_ref().map_or("", Digest::as_str)),
            Kind::Directory(_) => key.text("directory"),
            Kind::Symlink(target) => {
                key.text("symlink");
                key.bytes(target);
            }
            Kind::Device {
                block,
                major,
                minor,
            } => {
                key.text(if *block { "block" } else { "char" });
                key.number(i64::from(*major));
                key.number(i64::from(*minor));
            }
            Kind::Fifo => key.text("fifo"),
        }
    }
    Ok(())
}

/// A path of the source, and how far below what was selected it is.
struct Place {
    path: Vec<u8>,
    node: NodeId,
    depth: i64,
}

fn add_below(places: &mut Vec<Place>, tree: &Tree, selected: &Selected) {
    let mut todo = vec![Place {
        path: selected.path.clone(),
        node: selected.node,
        depth: 0,
    }];
    while let Some(place) = todo.pop() {
        let first = todo.len();
        todo.extend(tree.children(place.node).map(|(name, node)| Place {
            path: path::join(&place.path, name),
            node,
            depth: place.depth + 1,
        }));
        if let Some(added) = todo.get_mut(first..) {
            added.reverse();
        }
        places.push(place);
    }
}

/// Returns the digests of `files`, in their order, computed on two threads.
fn digests_of(files: &[(&[u8], &File)], contents: &dyn Contents) -> Result<Vec<Digest>> {
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
                digests.push((number, digest_of(path, file, contents, &mut buf)?));
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
