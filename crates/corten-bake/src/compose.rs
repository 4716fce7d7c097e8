//! The `build` sections of compose files: one target for each service that has one.

mod documents;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::bake::{File, Lookup, Opener};
use crate::convert::{as_bool, text};
use crate::interpolate::interpolate;
use crate::read::{has_ending, is_name};
use crate::stated::{Stated, canonical, merge};
use crate::{Error, Result};
use documents::Loader;

/// Keys of `build` and the attributes that they are.
const KEYS: [(&str, &str); 20] = [
    ("additional_contexts", "contexts"),
    ("args", "args"),
    ("cache_from", "cache-from"),
    ("cache_to", "cache-to"),
    ("context", "context"),
    ("dockerfile", "dockerfile"),
    ("dockerfile_inline", "dockerfile-inline"),
    ("entitlements", "entitlements"),
    ("extra_hosts", "extra-hosts"),
    ("labels", "labels"),
    ("network", "network"),
    ("no_cache", "no-cache"),
    ("no_cache_filter", "no-cache-filter"),
    ("platforms", "platforms"),
    ("pull", "pull"),
    ("shm_size", "shm-size"),
    ("ssh", "ssh"),
    ("tags", "tags"),
    ("target", "target"),
    ("ulimits", "ulimits"),
];

/// Attributes that `x-bake` may have: lists that are added to those of the section, and others.
const EXTENSION: [&str; 11] = [
    "cache-from",
    "cache-to",
    "contexts",
    "no-cache",
    "no-cache-filter",
    "output",
    "platforms",
    "pull",
    "secret",
    "ssh",
    "tags",
];

/// Tells whether the name of a file is one of a compose file.
pub(crate) fn is_compose(name: &str) -> bool {
    has_ending(name, "yml") || has_ending(name, "yaml")
}

/// Reads `files` together; every service with a `build` is in the group `default`.
pub(crate) fn read(
    files: &[&File],
    (environment, open): (&Lookup<'_>, &Opener<'_>),
    stated: &mut Stated,
) -> Result<()> {
    let loader = Loader::new(environment, open);
    let mut services: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut secrets = Map::new();
    for file in files {
        let loaded = loader.load(file, "", &mut Vec::new())?;
        for (name, service) in loaded.services {
            let service = service.as_object().cloned().unwrap_or_default();
            merge_service(services.entry(name).or_default(), service);
        }
        secrets.extend(loaded.secrets);
    }
    for (name, service) in services {
        let Some(build) = service.get("build").filter(|build| !build.is_null()) else {
            continue;
        };
        let target_name = name.replace('.', "_");
        let section = Section {
            place: format!("the service `{name}`"),
            service: &service,
            secrets: &secrets,
            environment,
        };
        if !is_name(&target_name) {
            return Err(section.form(
                "name",
                &Value::from(name),
                "of letters, digits, `_` and `-`",
            ));
        }
        let target = section.target(build)?;
        merge(
            stated.targets.entry(target_name.clone()).or_default(),
            target,
        );
        let default = stated.groups.entry("default".to_owned()).or_default();
        if !default.contains(&target_name) {
            default.push(target_name);
        }
    }
    Ok(())
}

fn parsed(file: &File, environment: &Lookup<'_>) -> Result<Value> {
    let failed = |reason: String| Error::Syntax {
        file: file.name.clone(),
        reason,
    };
    // How deep it may be, and how often an alias may be used, is bounded by the parser.
    let document: Value =
        serde_saphyr::from_str(&file.text).map_err(|error| failed(error.to_string()))?;
    let is_compose = ["services", "secrets", "include"]
        .iter()
        .any(|key| document.get(key).is_some());
    if !is_compose {
        return Err(failed("it has no `services`".to_owned()));
    }
    interpolate(document, environment).map_err(failed)
}

fn object(file: &File, document: &Value, key: &str) -> Result<Map<String, Value>> {
    match document.get(key) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(all)) => Ok(all.clone()),
        Some(_) => Err(Error::Syntax {
            file: file.name.clone(),
            reason: format!("`{key}` is no object"),
        }),
    }
}

/// A later file adds to lists and maps of the section, and replaces everything else.
fn merge_service(service: &mut Map<String, Value>, more: Map<String, Value>) {
    for (key, value) in more {
        match (service.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge_service(old, new),
            (Some(Value::Array(old)), Value::Array(new)) => old.extend(new),
            (_, value) => drop(service.insert(key, value)),
        }
    }
}

fn limit((name, value): (&String, &Value)) -> Option<Value> {
    let of = |key: &str| value.get(key).and_then(text);
    let both = text(value).map(|one| (one.clone(), one));
    let (soft, hard) = both.or_else(|| Some((of("soft")?, of("hard")?)))?;
    Some(Value::from(format!("{name}={soft}:{hard}")))
}

/// What may be written as a list or as a map is merged as a map.
fn into_maps(service: &mut Map<String, Value>) {
    let into_map = |object: &mut Map<String, Value>, key: &str, alone: Option<&str>| {
        if let Some(value) = object.get_mut(key) {
            *value = pairs(value.take(), "=", |_| alone.map(str::to_owned));
        }
    };
    into_map(service, "environment", None);
    if let Some(Value::Object(build)) = service.get_mut("build") {
        into_map(build, "args", None);
        into_map(build, "labels", Some(""));
        into_map(build, "additional_contexts", None);
    }
}

/// The `build` of one service.
struct Section<'a> {
    place: String,
    service: &'a Map<String, Value>,
    secrets: &'a Map<String, Value>,
    environment: &'a Lookup<'a>,
}

impl Section<'_> {
    fn unsupported(&self, name: &str, reason: &'static str) -> Error {
        Error::Unsupported {
            place: self.place.clone(),
            name: name.to_owned(),
            reason,
        }
    }

    fn form(&self, name: &str, found: &Value, expected: &str) -> Error {
        Error::Form {
            place: self.place.clone(),
            name: name.to_owned(),
            found: crate::convert::shown(found),
            expected: expected.to_owned(),
        }
    }

    fn target(&self, build: &Value) -> Result<Map<String, Value>> {
        let build = match build {
            Value::String(context) => Map::from_iter([("context".to_owned(), json!(context))]),
            Value::Object(build) => build.clone(),
            other => return Err(self.form("build", other, "a path or an object")),
        };
        let mut target = Map::new();
        let mut extension = Map::new();
        for (key, value) in build {
            match key.as_str() {
                "x-bake" => extension = self.extension(value)?,
                _ if key.starts_with("x-") || value.is_null() => {}
                "secrets" => self.add(&mut target, "secret", self.secret_list(&value)?)?,
                "provenance" | "sbom" => {
                    let mut attests = target.remove("attest").unwrap_or_else(|| json!([]));
                    if let Value::Array(all) = &mut attests {
                        all.push(self.attest(&key, &value)?);
                    }
                    self.add(&mut target, "attest", attests)?;
                }
                "isolation" | "privileged" => {
                    return Err(self.unsupported(&key, ": it is not of bake files"));
                }
                "target" | "network" if value.as_str() == Some("") => {}
                // Nothing else says so than being there.
                "no_cache" | "pull" if as_bool(&value) == Some(false) => {}
                _ => {
                    let own = KEYS.iter().find(|(compose, _)| *compose == key);
                    let Some((_, own)) = own else {
                        return Err(self.unsupported(&key, ""));
                    };
                    let value = self.shaped(own, value);
                    self.add(&mut target, own, value)?;
                }
            }
        }
        extend(&mut target, extension);
        // The image of the service is one without other tags.
        let has_tags = target.get("tags").and_then(Value::as_array);
        if has_tags.is_none_or(Vec::is_empty)
            && let Some(image) = self.service.get("image").and_then(text)
        {
            target.insert("tags".to_owned(), json!([image]));
        }
        Ok(target)
    }

    fn add(&self, target: &mut Map<String, Value>, key: &str, value: Value) -> Result<()> {
        target.insert(key.to_owned(), canonical(&self.place, key, value)?);
        Ok(())
    }

    /// Brings a value of the section into the form that the attribute has in bake files.
    fn shaped(&self, key: &str, value: Value) -> Value {
        match key {
            "args" => self.arguments(value),
            "context" => text(&value).map_or(value, |path| cleaned(&path).into()),
            "contexts" => {
                let mut contexts = pairs(value, "=", |_| None);
                if let Value::Object(contexts) = &mut contexts {
                    contexts.values_mut().for_each(rename_service);
                }
                contexts
            }
            // Each has one address or several.
            "extra-hosts" => {
                let mut hosts = match value {
                    Value::Array(_) => pairs(colons(value), "=", |_| None),
                    other => other,
                };
                if let Value::Object(hosts) = &mut hosts {
                    for addresses in hosts.values_mut() {
                        if let Value::Array(all) = addresses {
                            let all: Vec<_> = all.iter().filter_map(text).collect();
                            *addresses = Value::from(all.join(","));
                        }
                    }
                }
                hosts
            }
            // Each is one number, or a soft and a hard one.
            "ulimits" => match value {
                Value::Object(limits) => {
                    let all: Option<Value> = limits.iter().map(limit).collect();
                    all.unwrap_or(Value::Object(limits))
                }
                other => other,
            },
            "ssh" => match value {
                // A map of ids and paths, in place of a list.
                Value::Object(agents) => {
                    let agents = agents.into_iter();
                    let agents = agents.map(|(id, path)| match text(&path) {
                        Some(path) => Value::from(format!("{id}={path}")),
                        None => Value::from(id),
                    });
                    Value::Array(agents.collect())
                }
                other => other,
            },
            _ => value,
        }
    }

    /// Arguments without a value have that of the service's environment, or of ours, or are not there.
    fn arguments(&self, value: Value) -> Value {
        let service = self.service.get("environment").cloned().unwrap_or_default();
        let service = pairs(service, "=", |_| None);
        let known = |name: &str| {
            let own = service.get(name).and_then(text);
            own.or_else(|| (self.environment)(name))
        };
        let mut arguments = pairs(value, "=", known);
        if let Value::Object(arguments) = &mut arguments {
            for (name, value) in arguments.iter_mut().filter(|(_, value)| value.is_null()) {
                *value = known(name).map_or(Value::Null, Value::from);
            }
        }
        arguments
    }

    fn attest(&self, kind: &str, value: &Value) -> Result<Value> {
        let text = text(value).ok_or_else(|| self.form(kind, value, "a text"))?;
        Ok(Value::from(match text.as_str() {
            "true" => format!("type={kind}"),
            "false" => format!("type={kind},disabled=true"),
            text => format!("type={kind},{text}"),
        }))
    }

    fn secret_list(&self, value: &Value) -> Result<Value> {
        let Value::Array(all) = value else {
            return Err(self.form("secrets", value, "a list"));
        };
        let one = |secret: &Value| {
            let id = text(secret).or_else(|| secret.get("source").and_then(text));
            let id = id.ok_or_else(|| self.form("secrets", secret, "a list of names"))?;
            let known = self.secrets.get(&id).and_then(Value::as_object);
            let known = known.ok_or_else(|| Error::Unknown {
                name: id.clone(),
                needed_by: format!(" among the secrets, which {} has", self.place),
            })?;
            if known.get("external").and_then(Value::as_bool) == Some(true) {
                return Err(self.unsupported("secrets", ": an external secret cannot be had here"));
            }
            let mut secret = Map::from_iter([("id".to_owned(), Value::from(id))]);
            if let Some(file) = known.get("file").and_then(text) {
                secret.insert("src".to_owned(), cleaned(&file).into());
            }
            if let Some(variable) = known.get("environment") {
                secret.insert("env".to_owned(), variable.clone());
            }
            Ok(Value::Object(secret))
        };
        Ok(Value::Array(all.iter().map(one).collect::<Result<_>>()?))
    }

    /// Reads `x-bake`: what compose files have no word for.
    fn extension(&self, value: Value) -> Result<Map<String, Value>> {
        let Value::Object(extension) = value else {
            return Err(self.form("x-bake", &value, "an object"));
        };
        let mut target = Map::new();
        for (key, value) in extension {
            if !EXTENSION.contains(&key.as_str()) {
                return Err(self.unsupported(&format!("x-bake.{key}"), ""));
            }
            let is_text = matches!(key.as_str(), "no-cache" | "pull" | "contexts");
            let value = match &value {
                // Words of one text are a list.
                Value::String(words) if !is_text => words.split_whitespace().collect(),
                _ => value,
            };
            let value = self.shaped(&key, value);
            self.add(&mut target, &key, value)?;
        }
        Ok(target)
    }
}

/// Adds the extension's lists and maps to those of the section; the section's entries win.
fn extend(target: &mut Map<String, Value>, extension: Map<String, Value>) {
    for (key, value) in extension {
        match (target.get_mut(&key), value) {
            (Some(Value::Array(old)), Value::Array(new)) => old.extend(new),
            (Some(Value::Object(old)), Value::Object(new)) => {
                for (name, value) in new {
                    old.entry(name).or_insert(value);
                }
            }
            (_, value) => drop(target.insert(key, value)),
        }
    }
}

/// Paths are written without a dot at the beginning, as compose has it.
fn cleaned(path: &str) -> String {
    if path.contains("://") {
        return path.to_owned();
    }
    let cleaned = path.strip_prefix("./").unwrap_or(path);
    let cleaned = match cleaned.trim_end_matches('/') {
        "" if cleaned.starts_with('/') => "/",
        "" => ".",
        cleaned => cleaned,
    };
    cleaned.to_owned()
}

/// A service is a target.
fn rename_service(place: &mut Value) {
    let name = place.as_str().and_then(|place| {
        let name = place.strip_prefix("service:");
        name.or_else(|| place.strip_prefix("target:"))
    });
    if let Some(name) = name {
        *place = Value::from(format!("target:{}", name.replace('.', "_")));
    }
}

/// Lists of `NAME:ADDRESS` may have an equals sign instead.
fn colons(value: Value) -> Value {
    let Value::Array(all) = value else {
        return value;
    };
    let one = |one: Value| match one.as_str().map(|text| (text.contains('='), text)) {
        Some((false, text)) => Value::from(text.replacen(':', "=", 1)),
        _ => one,
    };
    Value::Array(all.into_iter().map(one).collect())
}

/// Lists of `NAME=VALUE` are maps; a name alone has the value that `alone` returns.
fn pairs(value: Value, separator: &str, alone: impl Fn(&str) -> Option<String>) -> Value {
    let Value::Array(entries) = &value else {
        return value;
    };
    let pair = |entry: &Value| {
        let entry = text(entry)?;
        if let Some((name, value)) = entry.split_once(separator) {
            return Some((name.to_owned(), Value::from(value)));
        }
        let value = alone(&entry).map_or(Value::Null, Value::from);
        Some((entry, value))
    };
    match entries.iter().map(pair).collect::<Option<Map<_, _>>>() {
        Some(map) => Value::Object(map),
        None => value,
    }
}
