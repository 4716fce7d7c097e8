//! Layers to trees, and trees to tars and directories.

use std::fs;
use std::io::Read as _;

use corten_layer::beneath::Root;
use corten_layer::diff::diff;
use corten_layer::directory::{Devices, DirectoryOptions, Owners, write_overlay, write_tree};
use corten_layer::{Contents, Data, Resolver, Tree, emit, index, users as owners};
use corten_spec::{DiffId, Digest};
use corten_tar::{Decoder, Entry, EntryKind, Limits, Located, Reader};

use crate::generator::{Chain, Layer, layers as generate};
use crate::snapshot::{assert_same, of_directory, of_tree};
use crate::tar::{read_all, repair};

/// Random layers: every tree is written as a tar and as the difference to others, and read again as
/// the same.
pub(crate) fn layers(data: &[u8]) {
    let Ok(layers) = generate(data) else {
        return;
    };
    let mut chain = Chain::new(layers);
    let trees = chain.trees.clone();
    for pair in trees.windows(2) {
        differ(&mut chain, &pair[0], &pair[1]);
        differ(&mut chain, &pair[1], &pair[0]);
    }
    let last = trees.last().expect("the first is there from the start");
    let mut whole = Vec::new();
    let written =
        emit::write_tree(last, &chain.contents(last), &mut whole).expect("it can be written");
    again(&mut chain, Tree::new(), last, whole, &written);
}

fn differ(chain: &mut Chain, lower: &Tree, upper: &Tree) {
    let changes = diff(lower, upper, &chain.same(lower, upper)).expect("it is in memory");
    let mut tar = Vec::new();
    let written = emit::write_changeset(lower, &changes, &chain.contents(upper), &mut tar);
    again(
        chain,
        lower.clone(),
        upper,
        tar,
        &written.expect("it can be written"),
    );
}

/// Reads the layer `tar` and applies it to `lower`, which gives `expected`.
fn again(chain: &mut Chain, lower: Tree, expected: &Tree, tar: Vec<u8>, written: &[Located]) {
    let mut reader = Reader::new(&tar[..], Limits::default());
    let mut entries = Vec::new();
    while let Some(located) = reader.next_entry().expect("what is written is read") {
        entries.push(located);
    }
    assert_eq!(written, entries, "what was said to be written");
    assert_eq!(
        index::decode(&index::encode(&entries)).expect("it is ours"),
        entries
    );
    let id = DiffId(Digest::sha256(&tar));
    chain.bytes.0.insert(id.clone(), tar);
    let (applied, report) = lower
        .apply(&id, &entries)
        .expect("our own layer is applied");
    assert_eq!(report.findings, [], "our own layer");
    let expected = of_tree(expected, &chain.contents(expected));
    assert_same(
        &expected,
        &of_tree(&applied, &chain.contents(&applied)),
        "applied",
    );
}

/// Random layers onto a real root: what is there is the tree, and nothing beside it changes.
pub(crate) fn directory(data: &[u8]) {
    let Ok(layers) = generate(data) else {
        return;
    };
    let chain = Chain::new(layers);
    let tree = chain.last();
    let contents = chain.contents(tree);
    let scratch = tempfile::tempdir().expect("there is room");
    let canary = scratch.path().join("canary");
    fs::create_dir(&canary).expect("there is room");
    fs::hard_link("/proc/self/exe", canary.join("link")).ok();
    std::os::unix::fs::symlink("nowhere", canary.join("a")).expect("there is room");
    let before = of_directory(&canary);
    let open = |name: &str| {
        let path = scratch.path().join(name);
        fs::create_dir(&path).expect("there is room");
        Root::open(&path).expect("it is there")
    };
    let is_root = rustix::process::geteuid().is_root();
    let options = DirectoryOptions {
        owners: if is_root { Owners::Set } else { Owners::Leave },
        devices: if is_root {
            Devices::Make
        } else {
            Devices::Skip
        },
        threads: 2,
    };
    let whole = open("whole");
    write_tree(tree, &contents, &whole, &options).expect("it can be written");
    if is_root {
        let expected = of_tree(tree, &contents);
        assert_same(
            &expected,
            &of_directory(whole.path()),
            "written and scanned",
        );
    }
    for (number, pair) in chain.trees.windows(2).enumerate() {
        let changes = diff(&pair[0], &pair[1], &chain.same(&pair[0], &pair[1]));
        let contents = chain.contents(&pair[1]);
        let root = open(&number.to_string());
        write_overlay(
            &pair[0],
            &changes.expect("it is in memory"),
            &contents,
            &root,
            &options,
        )
        .expect("it can be written");
    }
    assert_same(&before, &of_directory(&canary), "the canary");
    let beside = fs::read_dir(scratch.path()).expect("it is there").count();
    assert_eq!(
        beside,
        chain.trees.len() + 1,
        "something new beside the root"
    );
}

/// Bytes as a layer that was fetched: decompressed, read, applied twice, written.
pub(crate) fn layer_tar(data: &[u8]) {
    let limits = corten_tar::DecodeLimits {
        expansion: 100,
        expansion_after: 1 << 20,
        window_bytes: 8 << 20,
    };
    let mut tar = Vec::new();
    if let Ok(decoder) = Decoder::new(Box::new(data), limits) {
        drop(decoder.take(1 << 20).read_to_end(&mut tar));
    }
    repair(&mut tar);
    let (entries, _) = read_all(&tar);
    let entries: Vec<Located> = entries.into_iter().map(|(located, _)| located).collect();
    assert_eq!(
        index::decode(&index::encode(&entries)).expect("it is ours"),
        entries
    );
    let chain = Chain::new(vec![
        Layer {
            entries: entries.clone(),
            bytes: tar.clone(),
        },
        Layer {
            entries,
            bytes: tar,
        },
    ]);
    let tree = chain.last();
    for (path, id) in tree.walk() {
        assert!(tree.exact(&path) == Some(id), "`{}`", path.escape_ascii());
        drop((tree.follow(&path), tree.real_path(&path)));
    }
    drop(emit::write_tree(
        tree,
        &chain.contents(tree),
        &mut std::io::sink(),
    ));
}

/// Header indexes: what is read is what was written.
pub(crate) fn layer_index(data: &[u8]) {
    let Ok(entries) = index::decode(data) else {
        return;
    };
    let written = index::encode(&entries);
    assert_eq!(index::decode(&written).expect("it is ours"), entries);
    let mut resolver = Resolver::new(Tree::new(), DiffId(Digest::sha256(data)));
    for located in &entries {
        if resolver.apply(located).is_err() {
            return;
        }
    }
    let (tree, _) = resolver.finish();
    assert_eq!(tree.walk().count(), tree.n_paths());
}

/// `/etc/passwd`, `/etc/group` and the name of a user, in this order.
pub(crate) fn users(data: &[u8]) {
    let parts = crate::parts::parts(data);
    let mut layer = Layer::default();
    for (path, content) in ["etc/passwd", "etc/group"].into_iter().zip(&parts) {
        let mut entry = Entry::new(EntryKind::File, path);
        entry.size = content.len() as u64;
        let offset = layer.bytes.len() as u64;
        layer.entries.push(Located {
            entry,
            offset,
            stored_size: content.len() as u64,
        });
        layer.bytes.extend_from_slice(content);
    }
    let chain = Chain::new(vec![layer]);
    let tree = chain.last();
    let contents = chain.contents(tree);
    let names = parts
        .get(2)
        .map(|part| String::from_utf8_lossy(part).into_owned());
    for name in names.as_deref().unwrap_or("root").lines().take(3) {
        let user = owners::resolve_user(tree, &contents, name);
        let owner = owners::resolve_owner(tree, &contents, name);
        if let Ok(user) = &user {
            assert!(user.uid < u32::MAX && user.gid < u32::MAX);
        }
        if let Ok((owner, _)) = &owner {
            assert!(owner.uid < u32::MAX && owner.gid < u32::MAX);
        }
    }
    let data = tree.walk().filter_map(|(_, id)| match &tree.node(id).kind {
        corten_layer::Kind::File(file) => Some(file),
        _ => None,
    });
    for file in data {
        assert!(matches!(file.data, Data::Layer { .. }));
        drop(contents.open(file));
    }
}
