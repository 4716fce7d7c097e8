//! What files say of groups and targets, worked out; nothing is inherited yet.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::attribute::{self, Form};
use crate::convert::{as_bool, shown, text};
use crate::entry;
use crate::eval::{Evaluator, Scope};
use crate::matrix::Expanded;
use crate::{Error, Result};

/// What files say.
#[derive(Debug, Default)]
pub(crate) struct Stated {
    pub(crate) groups: BTreeMap<String, Vec<String>>,
    pub(crate) targets: BTreeMap<String, Map<String, Value>>,
    /// What files say of groups for people.
    pub(crate) descriptions: BTreeMap<String, String>,
}

impl Stated {
    /// Adds groups and targets of bake files; each matrix is a group of its targets.
    pub(crate) fn add(
        &mut self,
        expanded: &[Expanded<'_>],
        evaluator: &Evaluator<'_>,
    ) -> Result<()> {
        let mut of_matrices: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for one in expanded {
            let attributes = attributes(one, evaluator)?;
            if one.kind == "group" {
                let targets = attributes.get("targets").and_then(Value::as_array);
                let targets = targets.into_iter().flatten().filter_map(text);
                self.groups.insert(one.name.clone(), targets.collect());
                if let Some(description) = attributes.get("description").and_then(text) {
                    self.descriptions.insert(one.name.clone(), description);
                }
                continue;
            }
            if one.name != one.block.label {
                let group = of_matrices.entry(one.block.label.clone()).or_default();
                group.push(one.name.clone());
            }
            // A later block changes what an earlier one says.
            merge(
                self.targets.entry(one.name.clone()).or_default(),
                attributes,
            );
        }
        for (name, targets) in of_matrices {
            self.groups.entry(name).or_insert(targets);
        }
        Ok(())
    }
}

fn attributes(one: &Expanded<'_>, evaluator: &Evaluator<'_>) -> Result<Map<String, Value>> {
    let place = format!("the {} `{}`", one.kind, one.name);
    let mut attributes = Map::new();
    for (key, expression) in &one.block.attributes {
        if one.kind == "target" && matches!(key.as_str(), "matrix" | "name") {
            continue;
        }
        let value = evaluator.value(&Scope::Many(&one.scope), expression);
        let value = value.map_err(|failure| Error::Evaluate {
            place: place.clone(),
            name: key.clone(),
            reason: failure.reason,
        })?;
        let value = match (one.kind, key.as_str()) {
            ("group", "targets") => texts(&place, key, &value)?,
            ("group", "description") => value,
            ("group", _) => {
                return Err(Error::Unsupported {
                    place,
                    name: key.clone(),
                    reason: "",
                });
            }
            _ => canonical(&place, key, value)?,
        };
        attributes.insert(key.clone(), value);
    }
    Ok(attributes)
}

/// Brings a value into the form of its attribute.
pub(crate) fn canonical(place: &str, key: &str, value: Value) -> Result<Value> {
    let Some(attribute) = attribute::find(key) else {
        return Err(Error::Unsupported {
            place: place.to_owned(),
            name: key.to_owned(),
            reason: "",
        });
    };
    if value.is_null() {
        return Ok(value);
    }
    let form = |expected: &str| form(place, key, &value, expected);
    match attribute.form {
        Form::Any => Ok(value),
        Form::Text => Ok(text(&value).ok_or_else(|| form("a text"))?.into()),
        Form::Flag => Ok(as_bool(&value)
            .ok_or_else(|| form("`true` or `false`"))?
            .into()),
        Form::Texts => texts(place, key, &value),
        Form::Map => {
            let Value::Object(map) = &value else {
                return Err(form("an object of texts"));
            };
            let entry = |(name, value): (&String, &Value)| match value {
                Value::Null => Ok((name.clone(), Value::Null)),
                value => {
                    let text = text(value).ok_or_else(|| form("an object of texts"))?;
                    Ok((name.clone(), Value::String(text)))
                }
            };
            Ok(Value::Object(map.iter().map(entry).collect::<Result<_>>()?))
        }
        Form::Entries(kind) => {
            let Value::Array(all) = &value else {
                return Err(form("a list of texts or objects"));
            };
            // An empty text says nothing.
            let is_said = |value: &&Value| !value.is_null() && value.as_str() != Some("");
            let entry = |value: &Value| {
                let entry = entry::entry(kind, value);
                entry.map(Value::Object).map_err(|reason| Error::Evaluate {
                    place: place.to_owned(),
                    name: key.to_owned(),
                    reason: format!("in {}: {reason}", shown(value)),
                })
            };
            let all = all.iter().filter(is_said).map(entry);
            Ok(Value::Array(all.collect::<Result<_>>()?))
        }
    }
}

fn form(place: &str, key: &str, found: &Value, expected: &str) -> Error {
    Error::Form {
        place: place.to_owned(),
        name: key.to_owned(),
        found: shown(found),
        expected: expected.to_owned(),
    }
}

fn texts(place: &str, key: &str, value: &Value) -> Result<Value> {
    let form = || form(place, key, value, "a list of texts");
    let Value::Array(all) = value else {
        return Err(form());
    };
    let all = all.iter().filter(|value| !value.is_null());
    let all: Option<Vec<String>> = all.map(text).collect();
    Ok(all.ok_or_else(form)?.into())
}

/// Adds `more` to `target`: entries of maps one by one, lists that are joined at the end, and everything
/// else as a whole. What is null says nothing.
pub(crate) fn merge(target: &mut Map<String, Value>, more: Map<String, Value>) {
    for (key, value) in more {
        let is_joined = attribute::find(&key).is_some_and(|attribute| attribute.is_joined);
        match (target.get_mut(&key), value) {
            (_, Value::Null) => {}
            (Some(Value::Object(old)), Value::Object(new)) => {
                old.extend(new.into_iter().filter(|(_, value)| !value.is_null()));
            }
            (Some(Value::Array(old)), Value::Array(new)) if is_joined => old.extend(new),
            (_, Value::Object(mut new)) => {
                new.retain(|_, value| !value.is_null());
                target.insert(key, Value::Object(new));
            }
            (_, value) => drop(target.insert(key, value)),
        }
    }
}

/// Leaves out what says nothing, and what a list has twice.
pub(crate) fn normalize(target: &mut Map<String, Value>) {
    for (key, value) in target.iter_mut() {
        let kind = match attribute::find(key).map(|attribute| attribute.form) {
            Some(Form::Entries(kind)) => Some(kind),
            Some(Form::Any) => continue,
            _ => None,
        };
        match value {
            Value::Array(all) => {
                let mut seen = BTreeSet::new();
                match kind {
                    None => all.retain(|one| {
                        let text = one.as_str().unwrap_or_default();
                        !text.is_empty() && seen.insert(text.to_owned())
                    }),
                    Some(kind) => *all = distinct(kind, std::mem::take(all)),
                }
            }
            Value::Object(map) if key == "contexts" => {
                map.retain(|_, place| place.as_str().is_some_and(|place| !place.is_empty()));
            }
            _ => {}
        }
    }
    let is_empty = |value: &Value| match value {
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        value => value.is_null(),
    };
    target.retain(|_, value| !is_empty(value));
}

fn distinct(kind: entry::Kind, all: Vec<Value>) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::new();
    for one in all {
        let same = |earlier: &Value| match (one.as_object(), earlier.as_object()) {
            (Some(later), Some(earlier)) => entry::replaces(kind, later, earlier),
            _ => false,
        };
        match kept.iter().position(same) {
            Some(at) => {
                if let Some(earlier) = kept.get_mut(at) {
                    *earlier = one;
                }
            }
            None => kept.push(one),
        }
    }
    kept
}
