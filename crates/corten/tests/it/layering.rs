//! Who may depend on whom among our crates, and under which licences others are: change the table here
//! and in ARCHITECTURE.md together.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Each crate with those it may use; what those may use, it may use too.
const MAY_USE: &[(&str, &[&str])] = &[
    ("corten-spec", &[]),
    ("corten-tar", &[]),
    ("corten-bake", &[]),
    ("corten-dockerfile", &[]),
    ("corten-sandbox", &[]),
    ("corten-objects", &[]),
    ("corten-content", &["corten-spec"]),
    ("corten-layer", &["corten-spec", "corten-tar"]),
    ("corten-registry", &["corten-content"]),
    ("corten-transport", &["corten-layer", "corten-content"]),
    ("corten-snapshot", &["corten-layer", "corten-content"]),
    (
        "corten-image",
        &["corten-snapshot", "corten-layer", "corten-content"],
    ),
    (
        "corten-bundle",
        &["corten-snapshot", "corten-sandbox", "corten-image"],
    ),
    (
        "corten-build",
        &[
            "corten-dockerfile",
            "corten-snapshot",
            "corten-sandbox",
            "corten-layer",
            "corten-content",
        ],
    ),
];

/// May use any library, and is only ever a dev-dependency.
const TESTING: &str = "corten-testing";
/// May use everything.
const BINARY: &str = "corten";

/// Licences that ask for no more than their text.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

fn metadata() -> Value {
    // Other systems' dependencies need not be there.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--filter-platform", &platform])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().unwrap()
}

/// Returns each of our crates with everything that it may use.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut allowed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    // A crate stands below those it may use, so one pass is enough.
    for (name, direct) in MAY_USE {
        let mut all: BTreeSet<&str> = direct.iter().copied().collect();
        for used in *direct {
            all.extend(
                allowed
                    .get(used)
                    .unwrap_or_else(|| panic!("{used} stands below {name}")),
            );
        }
        allowed.insert(name, all);
    }
    let libraries: BTreeSet<&str> = allowed.keys().copied().collect();
    allowed.insert(TESTING, libraries.clone());
    allowed.insert(BINARY, libraries);
    allowed
}

#[test]
fn crates_use_only_those_below_them() {
    let (metadata, allowed) = (metadata(), allowed());
    let mut wrong = Vec::new();
    for package in packages(&metadata)
        .iter()
        .filter(|package| package["source"].is_null())
    {
        let name = text(package, "name");
        let Some(allowed) = allowed.get(name) else {
            wrong.push(format!("{name} is not in the table"));
            continue;
        };
        for used in package["dependencies"].as_array().unwrap() {
            let is_ours = text(used, "name").starts_with(BINARY);
            let is_dev = text(used, "kind") == "dev";
            let used = text(used, "name");
            let may = allowed.contains(used) || (is_dev && used == TESTING);
            if is_ours && !may {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn licences_are_permissive() {
    let metadata = metadata();
    let wrong: Vec<String> = packages(&metadata)
        .iter()
        .filter(|package| !is_permissive(text(package, "license")))
        .map(|package| format!("{}: `{}`", text(package, "name"), text(package, "license")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Reads an SPDX expression of the shapes that crates have: alternatives of conjunctions, with
/// brackets around whole alternatives at most.
fn is_permissive(expression: &str) -> bool {
    let known = |licence: &str| LICENCES.contains(&licence.trim_matches(['(', ')', ' ']));
    let any = |part: &str| part.replace('/', " OR ").split(" OR ").any(known);
    expression.split(" AND ").all(any)
}

#[test]
fn licence_expressions() {
    #[track_caller]
    fn check(expression: &str, expected: bool) {
        assert_eq!(is_permissive(expression), expected, "{expression:?}");
    }
    check("MIT", true);
    check("MIT/Apache-2.0", true);
    check("GPL-3.0 OR MIT", true);
    check("(MIT OR Apache-2.0) AND Unicode-3.0", true);
    check("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true);
    check("Apache-2.0 AND GPL-3.0", false);
    check("GPL-3.0", false);
    check("", false);
}
