//! Compose files that lead to others. What is expected is what buildx 0.38.2 prints.

use corten_bake::{File, Request, bake};
use serde_json::{Value, json};

const FILES: [(&str, &str); 5] = [
    (
        "compose.yaml",
        "include:
  - sub/inc.yaml
services:
  base:
    image: base:1
    build:
      context: base
      args: {A: '1', B: '2'}
      tags: [x:1]
      labels: {l: a}
  app:
    extends: base
    image: app:1
    build:
      context: app
      args: {B: '3'}
      tags: [y:1]
  file:
    extends: {file: sub/other.yaml, service: thing}
    build:
      target: t
  same:
    extends: {service: base}
",
    ),
    (
        "sub/inc.yaml",
        "services:
  inc:
    image: inc:1
    build:
      context: ./ctx
      dockerfile: ../D
      additional_contexts: {n: ./nn, o: 'docker-image://debian'}
secrets:
  s: {file: ./sec}
",
    ),
    (
        "sub/other.yaml",
        "services:
  thing:
    extends: deeper
    image: thing:1
    build:
      context: ./there
      secrets: [s]
  deeper:
    build:
      additional_contexts: {q: ../qq}
      cache_from: [a/b]
",
    ),
    ("round.yaml", "include: [./again.yaml]\nservices: {}\n"),
    ("again.yaml", "include: [{path: round.yaml}]\n"),
];

fn targets(name: &str) -> Result<Value, String> {
    let text = |name: &str| {
        let name = name.trim_start_matches("./");
        let found = FILES.iter().find(|(known, _)| *known == name);
        let found = found.ok_or_else(|| "there is no such file".to_owned());
        found.map(|(_, text)| (*text).to_owned())
    };
    let files = [File::new(name, &text(name)?)];
    let request = Request {
        files: &files,
        open: &text,
        ..Request::default()
    };
    let baked = bake(&request).map_err(|error| error.to_string())?;
    Ok(baked.to_json()["target"].clone())
}

#[test]
fn files_lead_to_others() {
    let base = json!({ "context": "base", "dockerfile": "Dockerfile", "args": { "A": "1", "B": "2" },
        "labels": { "l": "a" }, "tags": ["x:1"] });
    let expected = json!({
        "app": { "context": "app", "dockerfile": "Dockerfile", "args": { "A": "1", "B": "3" },
            "labels": { "l": "a" }, "tags": ["x:1", "y:1"] },
        "base": base,
        "file": { "context": "sub/there", "contexts": { "q": "qq" }, "dockerfile": "Dockerfile",
            "tags": ["thing:1"], "cache-from": [{ "ref": "a/b", "type": "registry" }], "target": "t",
            "secret": [{ "id": "s", "src": "sub/sec" }] },
        "inc": { "context": "sub/ctx", "contexts": { "n": "sub/nn", "o": "docker-image://debian" },
            "dockerfile": "../D", "tags": ["inc:1"] },
        "same": base,
    });
    assert_eq!(targets("compose.yaml").unwrap(), expected);
}

#[test]
fn files_that_lead_back_are_refused() {
    let error = targets("round.yaml").unwrap_err();
    assert!(error.contains("needs itself, by way of `"), "{error}");
}
