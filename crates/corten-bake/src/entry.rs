//! Entries of lists such as `output` and `secret`: objects, which may be written as texts.

use serde_json::{Map, Value};

use crate::convert::{parse_bool, text};
use crate::csv;

/// What a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Attest,
    Cache,
    Output,
    Secret,
    Ssh,
}

/// Returns the object that `value` is.
///
/// # Errors
///
/// A value of another form.
pub(crate) fn entry(kind: Kind, value: &Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::String(text) => from_text(kind, text),
        Value::Object(object) => from_object(kind, object),
        other => Err(format!("`{other}` is neither a text nor an object")),
    }
}

fn from_text(kind: Kind, text: &str) -> Result<Map<String, Value>, String> {
    if kind == Kind::Ssh {
        let (id, paths) = text.split_once('=').unwrap_or((text, ""));
        let paths = paths.split(',').filter(|path| !path.is_empty());
        let paths: Vec<Value> = paths.map(Value::from).collect();
        let mut entry = Map::from_iter([("id".to_owned(), Value::from(id))]);
        if !paths.is_empty() {
            entry.insert("paths".to_owned(), paths.into());
        }
        return Ok(entry);
    }
    let fields = csv::fields(text)?;
    let pair = |key: &str, value: &str| (key.to_owned(), Value::from(value));
    let is_plain = fields.iter().all(|field| !field.contains('='));
    match (kind, fields.as_slice()) {
        (Kind::Cache, [reference]) if is_plain => {
            return Ok(Map::from_iter([
                pair("type", "registry"),
                pair("ref", reference),
            ]));
        }
        (Kind::Output, [place]) if is_plain => {
            let kind = if place == "-" { "tar" } else { "local" };
            return Ok(Map::from_iter([pair("type", kind), pair("dest", place)]));
        }
        _ => {}
    }
    let mut object = Map::new();
    for field in &fields {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| format!("`{field}` is not of the form `KEY=VALUE`"))?;
        object.insert(key.trim().to_lowercase(), Value::from(value));
    }
    from_object(kind, &object)
}

fn from_object(kind: Kind, object: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut entry = Map::new();
    for (key, value) in object {
        let key = match (kind, key.as_str()) {
            (Kind::Secret, "source") => "src",
            (_, key) => key,
        };
        let value = match value {
            Value::Null => continue,
            Value::Array(_) if (kind, key) == (Kind::Ssh, "paths") => value.clone(),
            other if (kind, key) == (Kind::Attest, "disabled") => {
                let is_true = text(other).as_deref().and_then(parse_bool);
                let form = || format!("`disabled` is `{other}`, and is to be true or false");
                Value::Bool(is_true.ok_or_else(form)?)
            }
            other => {
                let form = || format!("`{key}` is `{other}`, and is to be a text");
                Value::String(text(other).ok_or_else(form)?)
            }
        };
        entry.insert(key.to_owned(), value);
    }
    if kind == Kind::Secret {
        normalize_secret(&mut entry);
    }
    let needed = match kind {
        Kind::Attest | Kind::Cache | Kind::Output => "type",
        Kind::Secret | Kind::Ssh => "id",
    };
    if entry.contains_key(needed) {
        Ok(entry)
    } else {
        Err(format!("it does not say its `{needed}`"))
    }
}

/// `type=env` has its source be a variable; one without a source is called as the secret anyway.
fn normalize_secret(entry: &mut Map<String, Value>) {
    let is_variable = entry.remove("type").as_ref() == Some(&Value::from("env"));
    if is_variable && !entry.contains_key("env") {
        let source = entry.remove("src");
        entry.extend(source.map(|source| ("env".to_owned(), source)));
    }
}

/// Returns what a flag of a build has for an entry.
pub(crate) fn to_text(kind: Kind, entry: &Map<String, Value>) -> String {
    if kind == Kind::Ssh {
        let id = entry.get("id").and_then(Value::as_str).unwrap_or_default();
        let paths = entry.get("paths").and_then(Value::as_array);
        let paths = paths.into_iter().flatten().filter_map(Value::as_str);
        let paths: Vec<_> = paths.collect();
        return if paths.is_empty() {
            id.to_owned()
        } else {
            format!("{id}={}", paths.join(","))
        };
    }
    let rank = |key: &str| usize::from(key != "type" && key != "id");
    let mut pairs: Vec<_> = entry.iter().collect();
    pairs.sort_by_key(|(key, _)| (rank(key), key.as_str()));
    let fields = pairs.into_iter();
    let fields = fields.map(|(key, value)| format!("{key}={}", text(value).unwrap_or_default()));
    let fields: Vec<_> = fields.collect();
    csv::line(fields.iter().map(String::as_str))
}

/// Tells whether `later` takes the place of `earlier` in a list, as buildx has it: there is one statement
/// of a type, one secret of an id and one agent of an id, and nothing is there twice.
pub(crate) fn replaces(
    kind: Kind,
    later: &Map<String, Value>,
    earlier: &Map<String, Value>,
) -> bool {
    match kind {
        Kind::Attest => later.get("type") == earlier.get("type"),
        Kind::Cache | Kind::Output | Kind::Secret | Kind::Ssh => later == earlier,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_and_objects() {
        #[track_caller]
        fn check(kind: Kind, value: &Value, expected: &Value, as_text: &str) {
            let entry = entry(kind, value).unwrap();
            assert_eq!(Value::Object(entry.clone()), *expected, "{value}");
            assert_eq!(to_text(kind, &entry), as_text, "{value}");
        }
        let cache = json!({ "type": "registry", "ref": "a/b:c" });
        check(
            Kind::Cache,
            &"a/b:c".into(),
            &cache,
            "type=registry,ref=a/b:c",
        );
        check(
            Kind::Cache,
            &"type=registry,ref=a/b:c".into(),
            &cache,
            "type=registry,ref=a/b:c",
        );
        let local = json!({ "type": "local", "dest": "out" });
        check(Kind::Output, &"out".into(), &local, "type=local,dest=out");
        let quoted = json!({ "type": "local", "dest": "a,b" });
        check(
            Kind::Output,
            &"type=local,\"dest=a,b\"".into(),
            &quoted,
            "type=local,\"dest=a,b\"",
        );
        let variable = json!({ "id": "K", "env": "V" });
        check(
            Kind::Secret,
            &json!({ "id": "K", "type": "env", "src": "V" }),
            &variable,
            "id=K,env=V",
        );
        check(
            Kind::Secret,
            &"type=file,id=a,source=b".into(),
            &json!({ "id": "a", "src": "b" }),
            "id=a,src=b",
        );
        check(
            Kind::Ssh,
            &"default".into(),
            &json!({ "id": "default" }),
            "default",
        );
        check(
            Kind::Ssh,
            &"k=a,b".into(),
            &json!({ "id": "k", "paths": ["a", "b"] }),
            "k=a,b",
        );
        for (kind, wrong) in [
            (Kind::Cache, json!("src=a")),
            (Kind::Output, json!({ "dest": "a" })),
            (Kind::Secret, json!(["id"])),
            (Kind::Attest, json!({ "type": ["x"] })),
            (Kind::Secret, json!("id=a,b")),
        ] {
            assert!(entry(kind, &wrong).is_err(), "{wrong}");
        }
    }
}
