//! `--set TARGET.KEY=VALUE`: what the command line changes of targets.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use crate::attribute::{self, Form, Support};
use crate::stated::{Stated, canonical};
use crate::{Error, Result};

/// One `--set`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The target; `*`, `?` and `[…]` stand for other characters.
    pattern: String,
    key: &'static str,
    /// The entry of a map, as in `args.NAME`, or the id of a secret.
    entry: Option<String>,
    value: String,
    /// `+=`: it is added to what there is.
    is_added: bool,
}

/// Names that attributes have here besides their own.
const ALIASES: [(&str, &str); 12] = [
    ("annotation", "annotations"),
    ("arg", "args"),
    ("entitlement", "entitlements"),
    ("extra-host", "extra-hosts"),
    ("label", "labels"),
    ("load", "load"),
    ("platform", "platforms"),
    ("push", "push"),
    ("resource", "resources"),
    ("secrets", "secret"),
    ("tag", "tags"),
    ("ulimit", "ulimits"),
];

impl FromStr for Override {
    type Err = String;

    /// Reads `TARGET.KEY[.ENTRY][+]=VALUE`.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        const FORM: &str = "expected `TARGET.KEY=VALUE`";
        let (path, value) = text.split_once('=').ok_or(FORM)?;
        let (path, is_added) = match path.strip_suffix('+') {
            Some(path) => (path, true),
            None => (path, false),
        };
        let mut parts = path.splitn(3, '.');
        let (Some(pattern), Some(given)) = (parts.next(), parts.next()) else {
            return Err(FORM.to_owned());
        };
        let entry = parts.next().map(str::to_owned);
        let alias = ALIASES.iter().find(|(alias, _)| *alias == given);
        let name = alias.map_or(given, |(_, name)| name);
        if let "push" | "load" = name {
            let is_plain = entry.is_none() && !is_added;
            let known = crate::convert::parse_bool(value).filter(|_| is_plain);
            known.ok_or_else(|| format!("`{given}` is set to `true` or `false`"))?;
            let key = if name == "push" { "push" } else { "load" };
            return Ok(Self {
                pattern: pattern.to_owned(),
                key,
                entry,
                value: value.to_owned(),
                is_added,
            });
        }
        let is_settable = !matches!(name, "inherits" | "matrix" | "name" | "description");
        let attribute = attribute::find(name).filter(|_| is_settable);
        let attribute = attribute.ok_or_else(|| format!("`{given}` is nothing that can be set"))?;
        if let Support::Refused(reason) = attribute.support {
            return Err(format!("`{given}` is not supported{reason}"));
        }
        let is_list = matches!(attribute.form, Form::Texts | Form::Entries(_));
        match (attribute.form, &entry) {
            (Form::Map, None) => return Err(format!("`{given}` needs a name: `{given}.NAME`")),
            (Form::Map, Some(_)) => {}
            (_, Some(_)) if name != "secret" => {
                return Err(format!("`{given}` has no entries that could be set"));
            }
            _ => {}
        }
        if is_added && (!is_list || entry.is_some()) {
            return Err(format!("`{given}` is no list, which could be added to"));
        }
        Ok(Self {
            pattern: pattern.to_owned(),
            key: attribute.name,
            entry,
            value: value.to_owned(),
            is_added,
        })
    }
}

/// Tells whether `name` is one that `pattern` is for, as Go's `path.Match` has it: `*`, `?` and `[a-z]`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    // Where to go on when something after the last star does not fit: at most once for each byte.
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, place));
            at += 1;
            continue;
        }
        match one(pattern, at, name.get(place).copied().unwrap_or_default()) {
            Some(next) => {
                at = next;
                place += 1;
            }
            None => match star {
                Some((star_at, star_place)) => {
                    star = Some((star_at, star_place + 1));
                    at = star_at + 1;
                    place = star_place + 1;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(at..)
        .unwrap_or_default()
        .iter()
        .all(|byte| *byte == b'*')
}

/// Returns where the pattern goes on after one that fits `byte`.
fn one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => {
            let rest = pattern.get(at + 1..)?;
            let end = rest.iter().skip(1).position(|byte| *byte == b']')? + 1;
            let set = rest.get(..end)?;
            let (set, is_without) = match set.strip_prefix(b"^") {
                Some(set) => (set, true),
                None => (set, false),
            };
            let mut is_in = set.contains(&byte) && (byte != b'-' || set.first() == Some(&b'-'));
            for range in set.windows(3) {
                if let [from, b'-', to] = range {
                    is_in |= (*from..=*to).contains(&byte);
                }
            }
            (is_in != is_without).then_some(at + end + 2)
        }
        known => (*known == byte).then_some(at + 1),
    }
}

/// Changes the target called `name`.
pub(crate) fn apply(
    overrides: &[Override],
    name: &str,
    target: &mut Map<String, Value>,
) -> Result<()> {
    let mut replaced = BTreeSet::new();
    for one in overrides.iter().filter(|one| matches(&one.pattern, name)) {
        match (one.key, &one.entry) {
            ("load", _) => {}
            ("push", _) => push(target, crate::convert::parse_bool(&one.value) == Some(true)),
            ("secret", Some(id)) => change_secret(target, id, &one.value)?,
            (key, Some(entry)) => {
                let map = target
                    .entry(key)
                    .or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = map {
                    map.insert(entry.clone(), Value::from(one.value.as_str()));
                }
            }
            (key, None) => {
                let value = Value::from(one.value.as_str());
                let is_list = attribute::find(key).is_some_and(|attribute| {
                    matches!(attribute.form, Form::Texts | Form::Entries(_))
                });
                if !is_list {
                    target.insert(key.to_owned(), canonical("`--set`", key, value)?);
                    continue;
                }
                // The first takes the place of what is there, and the others follow it; some are always
                // added, as in buildx, and only nothing takes their place.
                let is_always_added = matches!(key, "annotations" | "attest" | "entitlements");
                let is_cleared = !one.is_added && (!is_always_added || one.value.is_empty());
                if is_cleared && replaced.insert(key) {
                    target.remove(key);
                }
                let more = canonical("`--set`", key, json!([value]))?;
                let list = target.entry(key).or_insert_with(|| json!([]));
                if let (Value::Array(list), Value::Array(more)) = (list, more) {
                    list.extend(more);
                }
            }
        }
    }
    Ok(())
}

/// Has the target pushed, or not, whatever it says of its outputs.
fn push(target: &mut Map<String, Value>, is_pushed: bool) {
    let outputs = target.entry("output").or_insert_with(|| json!([]));
    let Value::Array(outputs) = outputs else {
        return;
    };
    let kind = |output: &Value| output["type"].as_str().unwrap_or_default().to_owned();
    let needs_one = outputs.iter().all(|output| kind(output) == "docker");
    if !is_pushed {
        outputs.retain(|output| kind(output) != "registry");
    } else if needs_one {
        outputs.push(json!({ "type": "image" }));
    }
    for output in outputs.iter_mut().filter(|output| kind(output) == "image") {
        output["push"] = Value::from(is_pushed.to_string());
    }
}

/// Says where a secret that is there comes from.
fn change_secret(target: &mut Map<String, Value>, id: &str, value: &str) -> Result<()> {
    let found = target.get_mut("secret").and_then(Value::as_array_mut);
    let mut found = found.into_iter().flatten().filter_map(Value::as_object_mut);
    let found = found.find(|secret| secret.get("id").and_then(Value::as_str) == Some(id));
    let Some(secret) = found else {
        return Err(Error::Unknown {
            name: format!("secret.{id}"),
            needed_by: ", which `--set` changes: the target has no such secret".to_owned(),
        });
    };
    let given = canonical("`--set`", "secret", json!([format!("id={id},{value}")]))?;
    let given = given.get(0).and_then(Value::as_object);
    if let Some(given) = given {
        secret.clone_from(given);
    }
    Ok(())
}

/// Fails where a pattern is for no target.
pub(crate) fn check(overrides: &[Override], stated: &Stated) -> Result<()> {
    let useless = |one: &&Override| {
        let mut names = stated.targets.keys();
        !names.any(|name| matches(&one.pattern, name))
    };
    match overrides.iter().find(useless) {
        Some(one) => Err(Error::Unknown {
            name: one.pattern.clone(),
            needed_by: ", which `--set` names".to_owned(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        #[track_caller]
        fn check(pattern: &str, name: &str, expected: bool) {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        check("app", "app", true);
        check("app", "apps", false);
        check("*", "app", true);
        check("a*p", "app", true);
        check("a*x*", "app", false);
        check("a?p", "app", true);
        check("app-[0-3]", "app-2", true);
        check("app-[^0-3]", "app-2", false);
        check("app-[ab]", "app-b", true);
        check("[", "[", false);
        check(&"a*".repeat(50), &"a".repeat(49), false);
    }

    #[test]
    fn forms() {
        for right in [
            "a.args.x=y",
            "*.tag+=x",
            "a.secret.id=src=f",
            "a.push=true",
            "a.no-cache=1",
            "a.output=",
        ] {
            assert!(right.parse::<Override>().is_ok(), "{right}");
        }
        for wrong in [
            "a",
            "a.b",
            "a.b=c",
            "a.tags.x=y",
            "a.args=y",
            "a.context+=y",
            "a.resources.memory=y",
            "a.push=x",
            "a.inherits=b",
        ] {
            assert!(wrong.parse::<Override>().is_err(), "{wrong}");
        }
    }
}
