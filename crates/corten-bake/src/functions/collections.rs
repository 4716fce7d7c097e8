//! Functions of lists and objects. Sets are lists, sorted and without repetition.

use serde_json::{Map, Value};

use super::{ANY, Args, Function};
use crate::convert::{shown, size, text};
use crate::eval::{Evaluated, element, operators};

pub(super) const TABLE: &[Function] = &[
    ("chunklist", 2, 2, |args| {
        let list = args.list(0)?;
        let size = match args.count(1)? {
            0 => list.len().max(1),
            size => size,
        };
        let chunks = list.chunks(size).map(|chunk| Value::Array(chunk.to_vec()));
        Ok(Value::Array(chunks.collect()))
    }),
    ("coalesce", 1, ANY, |args| {
        let found = args.values.iter().find(|value| !value.is_null());
        Ok(found.ok_or("every argument is null")?.clone())
    }),
    ("coalescelist", 1, ANY, |args| {
        for index in 0..args.values.len() {
            if !args.value(index).is_null() && !args.list(index)?.is_empty() {
                return Ok(args.value(index).clone());
            }
        }
        Err("every list is empty".into())
    }),
    ("compact", 1, 1, |args| {
        let is_kept = |value: &&Value| value.as_str().is_none_or(|text| !text.is_empty());
        Ok(Value::Array(
            args.list(0)?.iter().filter(is_kept).cloned().collect(),
        ))
    }),
    ("concat", 1, ANY, |args| {
        let mut all = Vec::new();
        for index in 0..args.values.len() {
            all.extend_from_slice(args.list(index)?);
        }
        Ok(Value::Array(all))
    }),
    ("contains", 2, 2, |args| {
        let list = args.list(0)?;
        Ok(has(list, args.value(1)).into())
    }),
    ("distinct", 1, 1, |args| {
        let list = args.list(0)?;
        // It compares each with each.
        args.spend(list.len().saturating_mul(list.len()))?;
        let mut seen: Vec<Value> = Vec::new();
        for value in list {
            if !has(&seen, value) {
                seen.push(value.clone());
            }
        }
        Ok(Value::Array(seen))
    }),
    ("element", 2, 2, |args| {
        let list = args.list(0)?;
        let at = args.count(1)?.checked_rem(list.len());
        let found = at.and_then(|at| list.get(at));
        Ok(found.ok_or("the list is empty")?.clone())
    }),
    ("flatten", 1, 1, |args| {
        let mut flat = Vec::new();
        flatten(args.list(0)?, &mut flat);
        Ok(Value::Array(flat))
    }),
    ("hasindex", 2, 2, |args| {
        Ok(element(args.value(0).clone(), args.value(1)).is_ok().into())
    }),
    ("index", 2, 2, |args| {
        element(args.value(0).clone(), args.value(1))
    }),
    ("indexof", 2, 2, |args| {
        let found = args
            .list(0)?
            .iter()
            .position(|one| operators::same(one, args.value(1)));
        Ok(found.ok_or("the list has no such element")?.into())
    }),
    ("jsondecode", 1, 1, |args| {
        Ok(serde_json::from_str(&args.text(0)?).map_err(|error| error.to_string())?)
    }),
    ("jsonencode", 1, 1, |args| {
        Ok(args.value(0).to_string().into())
    }),
    ("keys", 1, 1, |args| {
        Ok(Value::Array(
            args.object(0)?.keys().cloned().map(Value::from).collect(),
        ))
    }),
    ("length", 1, 1, |args| match args.value(0) {
        Value::Array(all) => Ok(all.len().into()),
        Value::Object(all) => Ok(all.len().into()),
        other => Err(format!("{} has no elements", shown(other)).into()),
    }),
    ("lookup", 2, 3, |args| {
        let found = args.object(0)?.get(&args.text(1)?);
        let found = found.or_else(|| args.values.get(2));
        Ok(found
            .ok_or("there is no such key, and no value for that case")?
            .clone())
    }),
    ("merge", 1, ANY, |args| {
        let mut all = Map::new();
        for index in 0..args.values.len() {
            if !args.value(index).is_null() {
                all.extend(args.object(index)?.clone());
            }
        }
        Ok(Value::Object(all))
    }),
    ("reverselist", 1, 1, |args| {
        Ok(Value::Array(args.list(0)?.iter().rev().cloned().collect()))
    }),
    ("sethaselement", 2, 2, |args| {
        Ok(has(args.list(0)?, args.value(1)).into())
    }),
    ("setintersection", 1, ANY, |args| {
        sets(args, |all, one| all.iter().all(|set| has(set, one)))
    }),
    ("setproduct", 1, ANY, product),
    ("setsubtract", 2, 2, |args| {
        sets(args, |all, one| {
            all.iter().skip(1).all(|set| !has(set, one))
        })
    }),
    ("setsymmetricdifference", 1, ANY, |args| {
        sets(args, |all, one| {
            all.iter().filter(|set| has(set, one)).count() % 2 == 1
        })
    }),
    ("setunion", 1, ANY, |args| sets(args, |_, _| true)),
    ("slice", 3, 3, |args| {
        let part = args.list(0)?.get(args.count(1)?..args.count(2)?);
        Ok(Value::Array(
            part.ok_or("the list does not have that part")?.to_vec(),
        ))
    }),
    ("sort", 1, 1, |args| {
        let all: Option<Vec<String>> = args.list(0)?.iter().map(text).collect();
        let mut all = all.ok_or("an element is no text")?;
        all.sort();
        Ok(all.into())
    }),
    ("values", 1, 1, |args| {
        Ok(Value::Array(args.object(0)?.values().cloned().collect()))
    }),
    ("zipmap", 2, 2, |args| {
        let (keys, values) = (args.list(0)?, args.list(1)?);
        if keys.len() != values.len() {
            return Err("there are not as many keys as values".into());
        }
        let pairs = keys.iter().zip(values);
        let pairs: Option<Map<_, _>> = pairs
            .map(|(key, value)| Some((text(key)?, value.clone())))
            .collect();
        Ok(Value::Object(pairs.ok_or("a key is no text")?))
    }),
];

fn has(list: &[Value], value: &Value) -> bool {
    list.iter().any(|one| operators::same(one, value))
}

fn flatten(list: &[Value], flat: &mut Vec<Value>) {
    for value in list {
        match value {
            Value::Array(inner) => flatten(inner, flat),
            other => flat.push(other.clone()),
        }
    }
}

/// Returns the elements of all sets that `is_wanted`.
fn sets(args: &Args<'_>, is_wanted: fn(&[&[Value]], &Value) -> bool) -> Evaluated {
    let all = (0..args.values.len()).map(|index| args.list(index));
    let all: Vec<&[Value]> = all.collect::<Result<_, _>>()?;
    let n_elements: usize = all.iter().map(|set| set.len()).sum();
    args.spend(n_elements.saturating_mul(n_elements))?;
    let elements = all.iter().copied().flatten();
    let mut wanted: Vec<Value> = elements
        .filter(|one| is_wanted(&all, one))
        .cloned()
        .collect();
    wanted.sort_by_cached_key(|value| text(value).unwrap_or_else(|| value.to_string()));
    wanted.dedup();
    Ok(Value::Array(wanted))
}

fn product(args: &Args<'_>) -> Evaluated {
    let mut all: Vec<Vec<Value>> = vec![Vec::new()];
    for index in 0..args.values.len() {
        let list = args.list(index)?;
        let each = size(args.value(index)).saturating_add(index * size_of::<Value>());
        args.spend(all.len().saturating_mul(each).saturating_mul(2))?;
        let longer = all.iter().flat_map(|one| {
            list.iter().map(|value| {
                let mut one = one.clone();
                one.push(value.clone());
                one
            })
        });
        all = longer.collect();
    }
    Ok(Value::Array(all.into_iter().map(Value::Array).collect()))
}
