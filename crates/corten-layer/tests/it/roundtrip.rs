//! What is written is read back as the same tree, and written again as the same bytes (rule 98).

use std::collections::HashMap;

use corten_layer::diff::diff;
use corten_layer::{NodeId, Resolver, Tree, emit, index};
use proptest::prelude::*;

use crate::random::{Chain, For, diff_id, layers, read, tar_of};
use crate::section11;
use crate::snapshot::{assert_same, of_tree};

pub(crate) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// The layer that makes `upper` of `lower` does so, and is made again of what it gave.
fn check(chain: &mut Chain, lower: &Tree, upper: &Tree) {
    let changes = diff(lower, upper, &chain.same(lower, upper)).unwrap();
    let mut tar = Vec::new();
    let written = emit::write_changeset(lower, &changes, &chain.contents(upper), &mut tar).unwrap();
    let entries = read(&tar);
    assert_eq!(written, entries, "what was said to be written");
    assert_eq!(index::decode(&index::encode(&entries)).unwrap(), entries);
    section11::check(lower, &entries);
    chain.bytes.0.insert(diff_id(&tar), tar.clone());
    let (applied, report) = lower.clone().apply(&diff_id(&tar), &entries).unwrap();
    assert_eq!(report.findings, [], "our own layer");
    check_links(&applied);
    let expected = of_tree(upper, &chain.contents(upper));
    assert_same(
        &expected,
        &of_tree(&applied, &chain.contents(&applied)),
        "applied",
    );
    let nothing = diff(&applied, upper, &chain.same(&applied, upper)).unwrap();
    assert!(nothing.is_empty(), "{nothing:?}");
    let changes = diff(lower, &applied, &chain.same(lower, &applied)).unwrap();
    let mut again = Vec::new();
    emit::write_changeset(lower, &changes, &chain.contents(&applied), &mut again).unwrap();
    assert_eq!(tar, again, "the same bytes");
}

/// The number of links of every node is that of its names.
fn check_links(tree: &Tree) {
    let mut names: HashMap<NodeId, u32> = HashMap::new();
    for (_, id) in tree.walk() {
        *names.entry(id).or_default() += 1;
    }
    for (id, n_names) in names {
        assert_eq!(tree.node(id).n_links, n_names);
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn layers_that_we_write_give_the_tree(layers in layers(For::Tars, 4)) {
        let mut chain = Chain::new(&layers);
        let trees = chain.trees.clone();
        for tree in &trees {
            check_links(tree);
        }
        for pair in trees.windows(2) {
            check(&mut chain, &pair[0], &pair[1]);
            check(&mut chain, &pair[1], &pair[0]);
        }
        let (first, last) = (trees.first().unwrap(), trees.last().unwrap());
        check(&mut chain, first, last);
        let mut whole = Vec::new();
        let written = emit::write_tree(last, &chain.contents(last), &mut whole).unwrap();
        assert_eq!(written, read(&whole));
        section11::check(first, &written);
        chain.bytes.0.insert(diff_id(&whole), whole.clone());
        let (applied, _) = Tree::new().apply(&diff_id(&whole), &written).unwrap();
        let expected = of_tree(last, &chain.contents(last));
        let found = of_tree(&applied, &chain.contents(&applied));
        assert_same(&expected, &found, "written whole");
    }

    #[test]
    fn any_layer_is_applied_or_refused(layers in layers(For::Tars, 3)) {
        let mut tree = Tree::new();
        for (number, pieces) in layers.iter().enumerate() {
            let tar = tar_of(pieces);
            let mut resolver = Resolver::new(tree.clone(), diff_id(&number.to_le_bytes()));
            if read(&tar).iter().all(|entry| resolver.apply(entry).is_ok()) {
                tree = resolver.finish().0;
                check_links(&tree);
            }
        }
    }
}
