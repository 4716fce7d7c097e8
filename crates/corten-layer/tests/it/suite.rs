//! One case for each rule of layers, through every writer of trees.
//!
//! Variants of the rules about entries are in `rules`, where a tree alone is looked at; here each rule
//! is held against what a kernel, another tar and our own readers find.

mod archive;
mod cases;
mod writers;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::Path;

use corten_layer::{Meta, Shown, Tree};
use corten_tar::{Limits, Reader, Timestamp};

use crate::host::is_root;
use crate::random::{Chain, diff_id};
use crate::snapshot::{Snapshot, assert_same, attributes, content};
use archive::{bytes_of, tar_of};
use writers::WRITERS;

/// Layers and what they amount to.
struct Case {
    /// The rules that it is about.
    rules: &'static [u8],
    layers: &'static [&'static [&'static str]],
    expected: Expected,
}

enum Expected {
    /// This tree, as [`expected`] reads it.
    Tree(&'static [&'static str]),
    /// The first tree; the second where a file system refuses some of it.
    Refused(&'static [&'static str], &'static [&'static str]),
    /// The last layer is refused, with a message that holds this.
    Error(&'static str),
    /// The tree, but writers whose names begin so refuse it with a message that holds this.
    Except(
        &'static [&'static str],
        &'static [&'static str],
        &'static str,
    ),
}

/// Where a rule is tested that no chain of layers shows: a file of the repository and a test in it.
struct Elsewhere {
    rules: &'static [u8],
    file: &'static str,
    test: &'static str,
}

/// Applies `tars`, each a whole layer.
fn chain(tars: Vec<Vec<u8>>) -> Result<Chain, String> {
    let mut chain = Chain {
        trees: vec![Tree::new()],
        ..Chain::default()
    };
    for tar in tars {
        let mut reader = Reader::new(&tar[..], Limits::default());
        let mut entries = Vec::new();
        while let Some(located) = reader.next_entry().map_err(|error| shown(&error))? {
            entries.push(located);
        }
        let id = diff_id(&tar);
        let below = chain.last().clone();
        let applied = below.apply(&id, &entries).map_err(|error| shown(&error))?;
        chain.bytes.0.insert(id, tar);
        chain.trees.push(applied.0);
    }
    Ok(chain)
}

fn shown(error: &dyn Error) -> String {
    match error.source() {
        None => error.to_string(),
        Some(source) => format!("{error}: {}", shown(source)),
    }
}

/// Reads a tree: `KIND PATH [-> TARGET] [KEY=VALUE]... [= FIRST]`, as `archive` writes entries. What is
/// left out is usual: 0755 or 0644, owned by root, of 1970; a file holds `1`, and there is a root.
fn expected(lines: &[&str]) -> Snapshot {
    let mut snapshot = Snapshot::new();
    for line in std::iter::once(&"d .").chain(lines) {
        let (line, first) = match line.split_once(" = ") {
            Some((line, first)) => (line, Some(bytes_of(first))),
            None => (*line, None),
        };
        let mut words = line.split(' ');
        let (kind, path) = (words.next().unwrap(), bytes_of(words.next().unwrap()));
        let path = if path == b"." { Vec::new() } else { path };
        let (mut mode, mut owner, mut mtime) = (0o644, (0, 0), Timestamp::default());
        if kind == "d" {
            mode = 0o755;
        }
        let (mut text, mut target, mut device) = (b"1".to_vec(), Vec::new(), String::new());
        let mut xattrs = Vec::new();
        while let Some(word) = words.next() {
            if word == "->" {
                target = bytes_of(words.next().unwrap());
                continue;
            }
            let (key, value) = word.split_once('=').unwrap();
            match key {
                "mode" => mode = u32::from_str_radix(value, 8).unwrap(),
                "owner" => {
                    let (uid, gid) = value.split_once(':').unwrap();
                    owner = (uid.parse().unwrap(), gid.parse().unwrap());
                }
                "mtime" => {
                    let (seconds, nanoseconds) = value.split_once('+').unwrap_or((value, "0"));
                    mtime = Timestamp {
                        seconds: seconds.parse().unwrap(),
                        nanoseconds: nanoseconds.parse().unwrap(),
                    };
                }
                "dev" => value.clone_into(&mut device),
                "text" => text = bytes_of(value),
                _ => xattrs.push((key.strip_prefix("xattr.").unwrap().into(), bytes_of(value))),
            }
        }
        let meta = Meta::new(mode, owner.0, owner.1, mtime).with_extended(xattrs, Vec::new());
        let mut found = match kind {
            "f" => content(text.len() as u64, &mut &text[..]),
            "d" => "directory".into(),
            "l" => format!("-> {}", target.escape_ascii()),
            "c" => format!("device false {device}"),
            "b" => format!("device true {device}"),
            "p" => "fifo".into(),
            other => panic!("no such kind: {other}"),
        };
        found += &attributes(&meta, kind == "l");
        if let Some(first) = first {
            found += &format!(" = {}", Shown::from(&first[..]));
        }
        snapshot.insert(Shown::from(&path[..]).to_string(), found);
    }
    snapshot
}

fn check(case: &Case) {
    let layers = case.layers.iter().enumerate();
    let tars = layers.map(|(layer_idx, lines)| tar_of(lines, layer_idx + 1));
    let chain = chain(tars.collect());
    let about = format!("rules {:?}: {:?}", case.rules, case.layers);
    let (all, on_disks, refusal) = match case.expected {
        Expected::Tree(tree) => (tree, tree, None),
        Expected::Refused(tree, on_disks) => (tree, on_disks, None),
        Expected::Except(tree, writers, part) => (tree, tree, Some((writers, part))),
        Expected::Error(part) => {
            let error = chain.err().unwrap_or_else(|| panic!("{about}: accepted"));
            assert!(error.contains(part), "{about}: {error}");
            return;
        }
    };
    let chain = chain.unwrap_or_else(|error| panic!("{about}: {error}"));
    for writer in WRITERS {
        let about = format!("{about}: {}", writer.name);
        let written = (writer.write)(&chain);
        if let Some((_, part)) =
            refusal.filter(|(names, _)| names.iter().any(|name| writer.name.starts_with(name)))
        {
            let error = written.expect_err(&about);
            assert!(error.contains(part), "{about}: {error}");
            continue;
        }
        let found = written.unwrap_or_else(|error| panic!("{about}: {error}"));
        let lines = if writer.holds_all { all } else { on_disks };
        assert_same(&expected(lines), &found, &about);
    }
}

#[test]
fn every_rule_through_every_writer() {
    if !is_root("every_rule_through_every_writer") {
        return;
    }
    for case in cases::CASES {
        check(case);
    }
}

#[test]
fn every_rule_has_a_case() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for elsewhere in cases::ELSEWHERE {
        let source = fs::read_to_string(here.join(elsewhere.file)).unwrap();
        let test = format!("fn {}(", elsewhere.test);
        assert!(source.contains(&test), "{}: {test}", elsewhere.file);
    }
    let cases = cases::CASES.iter().map(|case| case.rules);
    let elsewhere = cases::ELSEWHERE.iter().map(|elsewhere| elsewhere.rules);
    let covered: BTreeSet<u8> = cases.chain(elsewhere).flatten().copied().collect();
    let missing: Vec<u8> = (6..=98).filter(|rule| !covered.contains(rule)).collect();
    assert!(missing.is_empty(), "rules without a case: {missing:?}");
}
