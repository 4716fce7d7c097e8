//! Targets and groups: what they inherit, which are wanted, and in which order they are built.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::attribute::{self, Support};
use crate::stated::{Stated, merge, normalize};
use crate::{Baked, Error, Override, Result, overrides};

/// Deeper than anyone needs, and less than a stack holds.
const DEEPEST: usize = 100;

/// Returns what `names` stand for, with all that is needed for it.
pub(crate) fn resolve(stated: &Stated, names: &[String], set: &[Override]) -> Result<Baked> {
    overrides::check(set, stated)?;
    let names = expanded(stated, names)?;
    let mut wanted = Wanted::default();
    for name in &names {
        wanted.add(stated, name)?;
    }
    let mut resolver = Resolver {
        stated,
        set,
        inherited: BTreeMap::new(),
        baked: Baked {
            groups: groups(stated, &names, &wanted),
            targets: BTreeMap::new(),
            order: Vec::new(),
            asked: wanted.targets.iter().cloned().collect(),
        },
    };
    for name in &wanted.targets {
        resolver.add(name, &mut Vec::new())?;
    }
    Ok(resolver.baked)
}

/// Returns the names that patterns are for. A dot is an underscore, as services of compose files may have
/// one.
fn expanded(stated: &Stated, names: &[String]) -> Result<Vec<String>> {
    if names.is_empty() {
        return Ok(vec!["default".to_owned()]);
    }
    let mut all: Vec<String> = Vec::new();
    for name in names {
        let name = name.replace('.', "_");
        if !name.contains(['*', '?', '[', ']']) {
            all.push(name);
            continue;
        }
        let known = stated.groups.keys().chain(stated.targets.keys());
        let matching: Vec<_> = known
            .filter(|known| overrides::matches(&name, known))
            .collect();
        if matching.is_empty() {
            return Err(Error::Unknown {
                name,
                needed_by: String::new(),
            });
        }
        all.extend(matching.into_iter().cloned());
    }
    let mut seen = BTreeSet::new();
    all.retain(|name| seen.insert(name.clone()));
    Ok(all)
}

/// buildx prints what was asked for as the group `default`, and each group that was named.
fn groups(stated: &Stated, names: &[String], wanted: &Wanted) -> BTreeMap<String, Vec<String>> {
    let mut groups = BTreeMap::new();
    for name in &wanted.groups {
        let targets = stated.groups.get(name).cloned().unwrap_or_default();
        groups.insert(name.clone(), targets);
    }
    let has_default = groups.contains_key("default");
    let others = names
        .iter()
        .filter(|name| !has_default || *name != "default");
    let default = groups.entry("default".to_owned()).or_default();
    default.extend(others.cloned());
    default.sort();
    default.dedup();
    groups
}

/// What was asked for.
#[derive(Debug, Default)]
struct Wanted {
    /// In the order in which they are named.
    targets: Vec<String>,
    groups: Vec<String>,
    path: Vec<String>,
}

impl Wanted {
    /// Adds the targets that `name`, a target or group, stands for.
    fn add(&mut self, stated: &Stated, name: &str) -> Result<()> {
        let Some(group) = stated.groups.get(name) else {
            if !stated.targets.contains_key(name) {
                let by = self.path.last();
                return Err(Error::Unknown {
                    name: name.to_owned(),
                    needed_by: by.map_or_else(String::new, |by| format!(", which `{by}` names")),
                });
            }
            if !self.targets.iter().any(|known| known == name) {
                self.targets.push(name.to_owned());
            }
            return Ok(());
        };
        enter(&mut self.path, name)?;
        if !self.groups.iter().any(|known| known == name) {
            self.groups.push(name.to_owned());
            for one in group {
                self.add(stated, one)?;
            }
        }
        self.path.pop();
        Ok(())
    }
}

fn enter(path: &mut Vec<String>, name: &str) -> Result<()> {
    if path.iter().any(|known| known == name) || path.len() > DEEPEST {
        return Err(Error::Cycle {
            name: name.to_owned(),
            by: path.join("`, `"),
        });
    }
    path.push(name.to_owned());
    Ok(())
}

struct Resolver<'a> {
    stated: &'a Stated,
    set: &'a [Override],
    /// Targets with what they inherit, each worked out once.
    inherited: BTreeMap<String, Map<String, Value>>,
    baked: Baked,
}

impl Resolver<'_> {
    /// Adds a target after those that it needs.
    fn add(&mut self, name: &str, path: &mut Vec<String>) -> Result<()> {
        enter(path, name)?;
        if !self.baked.targets.contains_key(name) {
            let mut target = self.inherited(name, &mut Vec::new())?;
            finish(name, &mut target)?;
            let needed: Vec<String> = needs(&target).map(|(_, one)| one.to_owned()).collect();
            for needed in needed {
                self.add(&needed, path)?;
                self.allow_as(&needed, &mut target);
                self.check_platforms(name, &target, &needed)?;
            }
            if !self.baked.asked.contains(name) {
                // What is only needed by others is written nowhere.
                target.insert("output".to_owned(), json!([{ "type": "cacheonly" }]));
            }
            self.baked.order.push(name.to_owned());
            self.baked.targets.insert(name.to_owned(), target);
        }
        path.pop();
        Ok(())
    }

    /// What a target is allowed is allowed to those that need it.
    fn allow_as(&self, needed: &str, target: &mut Map<String, Value>) {
        let allowed = self.baked.targets.get(needed);
        if let Some(allowed) = allowed.and_then(|needed| needed.get("entitlements")) {
            let more = Map::from_iter([("entitlements".to_owned(), allowed.clone())]);
            merge(target, more);
            normalize(target);
        }
    }

    /// What is for several platforms needs something for each of them.
    fn check_platforms(&self, name: &str, target: &Map<String, Value>, needed: &str) -> Result<()> {
        let platforms = |target: &Map<String, Value>| -> BTreeSet<String> {
            let platforms = target.get("platforms").and_then(Value::as_array);
            let platforms = platforms.into_iter().flatten().filter_map(Value::as_str);
            platforms.map(str::to_owned).collect()
        };
        let own = platforms(target);
        let theirs = self
            .baked
            .targets
            .get(needed)
            .map(platforms)
            .unwrap_or_default();
        match own.difference(&theirs).next() {
            Some(platform) if own.len() > 1 && theirs.len() > 1 => Err(Error::Platforms {
                name: name.to_owned(),
                needed: needed.to_owned(),
                platform: platform.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Returns a target with what it inherits: a later parent wins, the target itself wins over all, and
    /// the command line over that.
    fn inherited(&mut self, name: &str, path: &mut Vec<String>) -> Result<Map<String, Value>> {
        if let Some(known) = self.inherited.get(name) {
            return Ok(known.clone());
        }
        let Some(own) = self.stated.targets.get(name) else {
            let by = path.last();
            return Err(Error::Unknown {
                name: name.to_owned(),
                needed_by: by.map_or_else(String::new, |by| format!(", which `{by}` needs")),
            });
        };
        enter(path, name)?;
        let mut own = own.clone();
        let mut all = Map::new();
        if let Some(Value::Array(parents)) = own.remove("inherits") {
            for parent in parents.iter().filter_map(Value::as_str) {
                let parent = self.inherited(parent, path)?;
                merge(&mut all, parent);
                check_size(name, &all)?;
            }
        }
        merge(&mut all, own);
        overrides::apply(self.set, name, &mut all)?;
        normalize(&mut all);
        path.pop();
        self.inherited.insert(name.to_owned(), all.clone());
        Ok(all)
    }
}

/// More entries in one list than anyone needs: lists that are joined could grow with each parent.
const MOST_ENTRIES: usize = 10_000;

fn check_size(name: &str, target: &Map<String, Value>) -> Result<()> {
    let n_entries = target.values().map(|value| match value {
        Value::Array(all) => all.len(),
        Value::Object(all) => all.len(),
        _ => 1,
    });
    if n_entries.sum::<usize>() > MOST_ENTRIES {
        return Err(Error::Evaluate {
            place: format!("the target `{name}`"),
            name: "inherits".to_owned(),
            reason: format!("it has more than {MOST_ENTRIES} entries then"),
        });
    }
    Ok(())
}

/// Returns the targets whose images are contexts of this one: the context's name, and the target's.
pub(crate) fn needs(target: &Map<String, Value>) -> impl Iterator<Item = (&str, &str)> {
    let contexts = target.get("contexts").and_then(Value::as_object);
    contexts.into_iter().flatten().filter_map(|(name, value)| {
        let needed = value.as_str()?.strip_prefix("target:")?;
        Some((name.as_str(), needed))
    })
}

/// Refuses what cannot be honoured, and adds what is usual.
fn finish(name: &str, target: &mut Map<String, Value>) -> Result<()> {
    for key in target.keys() {
        let support = attribute::find(key).map(|attribute| attribute.support);
        if let Some(Support::Refused(reason)) = support {
            return Err(Error::Unsupported {
                place: format!("the target `{name}`"),
                name: key.clone(),
                reason,
            });
        }
    }
    for (key, usual) in [("context", "."), ("dockerfile", "Dockerfile")] {
        let value = target.entry(key).or_insert_with(|| Value::from(usual));
        if value.as_str() == Some("") {
            *value = Value::from(usual);
        }
    }
    if target.get("network").and_then(Value::as_str) == Some("host") {
        let allowed = json!(["network.host"]);
        merge(
            target,
            Map::from_iter([("entitlements".to_owned(), allowed)]),
        );
        normalize(target);
    }
    Ok(())
}
