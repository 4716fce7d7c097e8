//! What `docker buildx bake --print` (0.38.2) prints, and we do.
//!
//! Each line of `expected.jsonl` has a command line, with `$NAME=VALUE` for the environment, and what
//! buildx printed for it; null where it refused that. Lists without an order are sorted.

use std::collections::BTreeMap;

use corten_bake::{File, Override, Request, bake};
use serde_json::Value;

const FILES: [(&str, &str); 6] = [
    ("all.hcl", include_str!("files/all.hcl")),
    ("compose.yaml", include_str!("files/compose.yaml")),
    ("file.json", include_str!("files/file.json")),
    ("more.yaml", include_str!("files/more.yaml")),
    ("override.hcl", include_str!("files/override.hcl")),
    ("typed.hcl", include_str!("files/typed.hcl")),
];

fn printed(line: &str) -> Result<Value, String> {
    let (mut files, mut environment) = (Vec::new(), BTreeMap::new());
    let (mut names, mut overrides) = (Vec::new(), Vec::new());
    let mut words = line.split(' ');
    while let Some(word) = words.next() {
        match (word, word.strip_prefix('$')) {
            ("-f", _) => {
                let name = words.next().unwrap();
                let (_, text) = FILES.iter().find(|(known, _)| *known == name).unwrap();
                files.push(File::new(name, text));
            }
            ("--set", _) => overrides.push(words.next().unwrap().parse::<Override>()?),
            (_, Some(variable)) => {
                let (name, value) = variable.split_once('=').unwrap();
                environment.insert(name, value);
            }
            _ => names.push(word.to_owned()),
        }
    }
    let baked = bake(&Request {
        files: &files,
        environment: &|name| environment.get(name).map(ToString::to_string),
        platform: "linux/amd64",
        names: &names,
        overrides: &overrides,
        ..Request::default()
    });
    baked
        .map(|baked| baked.to_json())
        .map_err(|error| error.to_string())
}

/// Brings what has no order, or says nothing, into one form.
fn in_order(mut printed: Value) -> Value {
    for group in printed["group"].as_object_mut().unwrap().values_mut() {
        sort(&mut group["targets"]);
        group.as_object_mut().unwrap().remove("description");
    }
    for target in printed["target"].as_object_mut().unwrap().values_mut() {
        for key in ["attest", "entitlements", "secret", "ssh"] {
            sort(&mut target[key]);
        }
        let is_said = |value: &Value| {
            let is_empty = value.as_array().is_some_and(Vec::is_empty);
            !is_empty && !value.is_null()
        };
        target
            .as_object_mut()
            .unwrap()
            .retain(|_, value| is_said(value));
    }
    printed
}

fn sort(list: &mut Value) {
    if let Value::Array(all) = list {
        all.sort_by_key(Value::to_string);
    }
}

#[test]
fn the_same_as_buildx() {
    for line in include_str!("expected.jsonl").lines() {
        let case: (String, Value) = serde_json::from_str(line).unwrap();
        let (line, expected) = case;
        match (printed(&line), expected) {
            (Err(_), Value::Null) => {}
            (Err(error), _) => panic!("{line}: {error}"),
            (Ok(printed), Value::Null) => panic!("{line}: buildx refuses it: {printed:#}"),
            (Ok(printed), expected) => {
                assert_eq!(in_order(printed), in_order(expected), "{line}");
            }
        }
    }
}
