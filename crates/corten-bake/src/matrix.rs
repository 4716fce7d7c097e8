//! Matrices: one block that is many targets.

use serde_json::{Map, Value};

use crate::convert::size;
use crate::eval::{Evaluator, Failure, Scope};
use crate::read::{Block, Source, is_name};
use crate::variables::blocks;
use crate::{Error, Result};

/// A target or group by its name, with what its expressions may name.
#[derive(Debug)]
pub(crate) struct Expanded<'a> {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) block: &'a Block,
    pub(crate) scope: Map<String, Value>,
}

impl Expanded<'_> {
    /// Tells whether it is what is called so.
    pub(crate) fn is(&self, kind: &str, name: &str) -> bool {
        self.kind == kind && self.name == name
    }
}

/// More targets than this are a mistake.
const MOST_TARGETS: usize = 1000;

/// Returns every group and target of `source`.
pub(crate) fn expand<'a>(
    source: &'a Source,
    evaluator: &Evaluator<'_>,
) -> Result<Vec<Expanded<'a>>> {
    let mut all = Vec::new();
    for kind in ["group", "target"] {
        for block in blocks(source, kind) {
            let place = format!("the {kind} `{}`", block.label);
            for scope in scopes(kind, &place, block, evaluator)? {
                if all.len() == MOST_TARGETS {
                    return Err(too_many());
                }
                let name = name(&place, block, &scope, evaluator)?;
                let is_own =
                    |one: &Expanded<'_>| one.is(kind, &name) && std::ptr::eq(one.block, block);
                if all.iter().any(is_own) {
                    return Err(Error::Evaluate {
                        place,
                        name: "name".to_owned(),
                        reason: format!("two targets of the matrix are called `{name}`"),
                    });
                }
                all.push(Expanded {
                    kind,
                    name,
                    block,
                    scope,
                });
            }
        }
    }
    Ok(all)
}

fn too_many() -> Error {
    Error::TooMany {
        what: "targets",
        most: MOST_TARGETS,
    }
}

fn failed(place: &str, name: &str, failure: Failure) -> Error {
    Error::Evaluate {
        place: place.to_owned(),
        name: name.to_owned(),
        reason: failure.reason,
    }
}

/// Returns what each combination of the matrix names; one that names nothing where there is no matrix.
fn scopes(
    kind: &str,
    place: &str,
    block: &Block,
    evaluator: &Evaluator<'_>,
) -> Result<Vec<Map<String, Value>>> {
    let Some(matrix) = block.attributes.get("matrix").filter(|_| kind == "target") else {
        return Ok(vec![Map::new()]);
    };
    let form = |found: &Value| Error::Form {
        place: place.to_owned(),
        name: "matrix".to_owned(),
        found: crate::convert::shown(found),
        expected: "an object of lists".to_owned(),
    };
    if !block.attributes.contains_key("name") {
        let reason = "the target has no `name` that would tell its variants apart";
        return Err(failed(place, "matrix", reason.into()));
    }
    let matrix = evaluator.value(&Scope::Empty, matrix);
    let matrix = matrix.map_err(|failure| failed(place, "matrix", failure))?;
    let Value::Object(axes) = matrix else {
        return Err(form(&matrix));
    };
    let mut all = vec![Map::new()];
    for (key, values) in axes {
        let Value::Array(values) = values else {
            return Err(form(&values));
        };
        if all.len().saturating_mul(values.len()) > MOST_TARGETS {
            return Err(too_many());
        }
        let each = |all: &Map<String, Value>| all.values().map(size).sum::<usize>();
        let old = all.iter().map(each).sum::<usize>();
        let new = values.iter().map(size).sum::<usize>();
        let work = old.saturating_mul(values.len());
        evaluator
            .spend(work.saturating_add(new.saturating_mul(all.len())))
            .map_err(|failure| failed(place, "matrix", failure))?;
        let with = |one: &Map<String, Value>, value: &Value| {
            let mut one = one.clone();
            one.insert(key.clone(), value.clone());
            one
        };
        let longer = values
            .iter()
            .flat_map(|value| all.iter().map(|one| with(one, value)).collect::<Vec<_>>());
        all = longer.collect();
    }
    Ok(all)
}

fn name(
    place: &str,
    block: &Block,
    scope: &Map<String, Value>,
    evaluator: &Evaluator<'_>,
) -> Result<String> {
    let Some(written) = block.attributes.get("name") else {
        return Ok(block.label.clone());
    };
    if !block.attributes.contains_key("matrix") {
        return Err(failed(
            place,
            "name",
            "only a target with a `matrix` has one".into(),
        ));
    }
    let value = evaluator.value(&Scope::Many(scope), written);
    let value = value.map_err(|failure| failed(place, "name", failure))?;
    let name = crate::convert::text(&value).filter(|name| is_name(name));
    name.ok_or_else(|| Error::Form {
        place: place.to_owned(),
        name: "name".to_owned(),
        found: crate::convert::shown(&value),
        expected: "of letters, digits, `_` and `-`".to_owned(),
    })
}
