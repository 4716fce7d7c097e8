//! The runtime specification's own schema of `config.json`.

use std::sync::OnceLock;

use jsonschema::{Draft, Registry, Validator};
use serde_json::Value;

macro_rules! schema {
    ($name:literal) => {
        ($name, include_str!(concat!("../data/runtime-spec/", $name)))
    };
}

const CONFIG: (&str, &str) = schema!("config-schema.json");
const OTHERS: [(&str, &str); 10] = [
    schema!("config-linux.json"),
    schema!("config-solaris.json"),
    schema!("config-vm.json"),
    schema!("config-windows.json"),
    schema!("config-zos.json"),
    schema!("defs.json"),
    schema!("defs-linux.json"),
    schema!("defs-vm.json"),
    schema!("defs-windows.json"),
    schema!("defs-zos.json"),
];
/// The schemas refer to one another by file name.
const BASE: &str = "schema:///";

/// Checks a `config.json` against the schema and against what only the text of the specification says
/// (CNV-34).
#[track_caller]
pub(crate) fn check(config: &Value) {
    let problems = problems(config);
    assert!(problems.is_empty(), "{problems:#?}\n{config:#}");
}

pub(crate) fn problems(config: &Value) -> Vec<String> {
    let errors = validator().iter_errors(config);
    let mut problems: Vec<String> = errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    let cwd = config["process"]["cwd"].as_str().unwrap_or_default();
    let is_absolute = cwd.starts_with('/') || cwd.get(1..3) == Some(":\\");
    if !is_absolute {
        problems.push(format!("cwd `{cwd}` is not absolute"));
    }
    let annotations = config["annotations"].as_object();
    if annotations.is_some_and(|annotations| annotations.contains_key("")) {
        problems.push("an annotation has no key".to_owned());
    }
    problems
}

fn validator() -> &'static Validator {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    VALIDATOR.get_or_init(|| {
        let parse = |text| serde_json::from_str::<Value>(text).unwrap();
        let mut registry = Registry::new().draft(Draft::Draft4);
        for (name, text) in OTHERS {
            registry = registry.add(format!("{BASE}{name}"), parse(text)).unwrap();
        }
        let registry = registry.prepare().unwrap();
        jsonschema::options()
            .with_draft(Draft::Draft4)
            .with_base_uri(format!("{BASE}{}", CONFIG.0))
            .with_registry(&registry)
            .build(&parse(CONFIG.1))
            .unwrap()
    })
}
