//! Differences are as small as the rules of layers allow, and a function of the two trees alone.

use std::collections::HashSet;

use corten_layer::diff::diff;
use corten_layer::{Change, Changeset, Item, Put, Tree, TreeBuilder, emit};
use proptest::prelude::*;

use crate::random::{Chain, For, diff_id, layers, read};
use crate::roundtrip::config;
use crate::snapshot::of_tree;

/// Returns `changes` without those that `left_out` names.
fn without(changes: &Changeset, left_out: &dyn Fn(&[u8], &Change) -> bool) -> Changeset {
    let mut rest = Changeset::default();
    for (path, change) in changes
        .iter()
        .filter(|(path, change)| !left_out(path, change))
    {
        match change {
            Change::Put(put) => rest.put(path, put.clone()).unwrap(),
            Change::Remove => rest.remove(path).unwrap(),
        }
    }
    rest
}

/// Without any one of its changes, a layer cannot be written or gives another tree. Names of one inode
/// go together (rule 88).
fn every_change_is_needed(chain: &mut Chain, lower: &Tree, upper: &Tree) {
    let changes = diff(lower, upper, &chain.same(lower, upper)).unwrap();
    let expected = of_tree(upper, &chain.contents(upper));
    let mut groups_seen = HashSet::new();
    for (path, change) in changes.iter() {
        let group = match change {
            Change::Put(put) => put.group,
            Change::Remove => None,
        };
        if group.is_some_and(|group| !groups_seen.insert(group)) {
            continue;
        }
        let rest = without(&changes, &|other, change| match (group, change) {
            (Some(_), Change::Put(put)) => put.group == group,
            _ => other == path,
        });
        let mut tar = Vec::new();
        let contents = chain.contents(upper);
        if emit::write_changeset(lower, &rest, &contents, &mut tar).is_err() {
            continue;
        }
        let id = diff_id(&tar);
        chain.bytes.0.insert(id.clone(), tar.clone());
        let (applied, _) = lower.clone().apply(&id, &read(&tar)).unwrap();
        let found = of_tree(&applied, &chain.contents(&applied));
        assert_ne!(found, expected, "{} is not needed", path.escape_ascii());
    }
}

/// Every entry of a layer is a change, or a directory above one with the attributes it has anyway
/// (rule 84).
fn every_entry_has_a_reason(chain: &Chain, lower: &Tree, upper: &Tree) {
    let changes = diff(lower, upper, &chain.same(lower, upper)).unwrap();
    let mut tar = Vec::new();
    let written = emit::write_changeset(lower, &changes, &chain.contents(upper), &mut tar).unwrap();
    for located in &written {
        let path = located
            .entry
            .path
            .strip_suffix(b"/")
            .unwrap_or(&located.entry.path);
        let path = if path == b"." { b"" } else { path };
        let (directory, name) = corten_layer::path::split(path);
        let change = match name.strip_prefix(b".wh.") {
            Some(name) => changes.get(&corten_layer::path::join(directory, name)),
            None => changes.get(path),
        };
        let is_above = || {
            changes
                .iter()
                .any(|(below, _)| below != path && corten_layer::path::is_within(below, path))
        };
        assert!(change.is_some() || is_above(), "{}", path.escape_ascii());
        if change.is_none() {
            let id = lower.exact(path).unwrap();
            assert_eq!(lower.node(id).meta.mode, located.entry.mode);
            assert_eq!(lower.node(id).meta.mtime, located.entry.mtime);
        }
    }
}

/// The same tree, made in another order: inodes have other numbers.
fn made_again(tree: &Tree) -> Tree {
    let mut groups = std::collections::HashMap::new();
    let mut builder = TreeBuilder::new(tree.node(Tree::ROOT).meta.clone());
    let mut paths: Vec<_> = tree.walk().collect();
    let is_directory =
        |(_, id): &(Vec<u8>, _)| Put::of_node(tree.node(*id), 0).item == Item::Directory;
    // Directories first, parents before children; then everything else, backwards.
    paths.sort_by_key(|path| !is_directory(path));
    let n_directories = paths.iter().filter(|path| is_directory(path)).count();
    paths[n_directories..].reverse();
    for (path, id) in paths {
        let next = 1000 - groups.len() as u64;
        let group = *groups.entry(id).or_insert(next);
        builder
            .add(&path, Put::of_node(tree.node(id), group))
            .unwrap();
    }
    builder.finish()
}

/// The bytes are those of the trees: how these came to be does not show.
fn bytes_are_of_the_trees(chain: &Chain, lower: &Tree, upper: &Tree) {
    let write = |lower: &Tree, upper: &Tree| {
        let old = chain.last();
        let changes = diff(lower, upper, &chain.same(old, old)).unwrap();
        let mut tar = Vec::new();
        emit::write_changeset(lower, &changes, &chain.contents(old), &mut tar).unwrap();
        tar
    };
    let expected = write(lower, upper);
    let found = write(&made_again(lower), &made_again(upper));
    assert!(expected == found, "other bytes from the same trees");
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn differences_are_minimal_and_deterministic(layers in layers(For::Tars, 3)) {
        let mut chain = Chain::new(&layers);
        let trees = chain.trees.clone();
        for pair in trees.windows(2) {
            every_change_is_needed(&mut chain, &pair[0], &pair[1]);
            every_change_is_needed(&mut chain, &pair[1], &pair[0]);
            every_entry_has_a_reason(&chain, &pair[0], &pair[1]);
            every_entry_has_a_reason(&chain, &pair[1], &pair[0]);
            bytes_are_of_the_trees(&chain, &pair[0], &pair[1]);
            bytes_are_of_the_trees(&chain, &pair[1], &pair[0]);
        }
        let (first, last) = (trees.first().unwrap(), trees.last().unwrap());
        every_change_is_needed(&mut chain, first, last);
    }
}

/// Tells which names a difference writes, where `lower` and `upper` are groups of names of one inode.
#[track_caller]
fn check_parted(lower: &[&[&str]], upper: &[&[&str]], written: &[&str], removed: &[&str]) {
    let tree = |groups: &[&[&str]]| {
        let mut builder = TreeBuilder::new(Tree::new().node(Tree::ROOT).meta.clone());
        for (group, names) in (0..).zip(groups) {
            for name in *names {
                let put = Put {
                    group: Some(group),
                    ..Put::directory(Tree::new().node(Tree::ROOT).meta.clone())
                };
                let put = Put {
                    item: Item::Fifo,
                    ..put
                };
                builder.add(name.as_bytes(), put).unwrap();
            }
        }
        builder.finish()
    };
    let same = |_: &corten_layer::File, _: &corten_layer::File| Ok(true);
    let changes = diff(&tree(lower), &tree(upper), &same).unwrap();
    let (puts, removals): (Vec<_>, Vec<_>) = changes
        .iter()
        .partition(|(_, change)| matches!(change, Change::Put(_)));
    let names = |changes: &[(&[u8], &Change)]| -> Vec<String> {
        let names = changes.iter();
        names
            .map(|(path, _)| String::from_utf8_lossy(path).into_owned())
            .collect()
    };
    assert_eq!(names(&puts), written, "{lower:?} -> {upper:?}");
    assert_eq!(names(&removals), removed, "{lower:?} -> {upper:?}");
}

#[test]
fn names_that_stay_are_not_written_when_others_of_their_inode_go() {
    check_parted(&[&["a", "b", "c"]], &[&["a", "c"]], &[], &["b"]);
    check_parted(&[&["a", "b"]], &[&["b"]], &[], &["a"]);
    // Parted: one of them stays what it was.
    check_parted(&[&["a", "b"]], &[&["a"], &["b"]], &["b"], &[]);
    check_parted(
        &[&["a", "b", "c", "d"]],
        &[&["a", "d"], &["b", "c"]],
        &["b", "c"],
        &[],
    );
    // Joined by a new name, or with others: all of them are written.
    check_parted(&[&["a", "b"]], &[&["a", "b", "c"]], &["a", "b", "c"], &[]);
    check_parted(&[&["a"], &["b"]], &[&["a", "b"]], &["a", "b"], &[]);
    check_parted(
        &[&["a", "b"], &["c"]],
        &[&["a"], &["b", "c"]],
        &["b", "c"],
        &[],
    );
}
