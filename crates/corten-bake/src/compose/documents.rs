//! Compose files with the files that they include, and services with those that they extend.

use std::cell::Cell;

use serde_json::{Map, Value};

use super::{cleaned, into_maps, merge_service, object, parsed};
use crate::bake::{File, Lookup, Opener};
use crate::convert::text;
use crate::{Error, Result};

/// How many files may be read for those that are given.
const MOST_FILES: usize = 100;

/// What a file says, with what it includes.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) services: Map<String, Value>,
    pub(super) secrets: Map<String, Value>,
}

/// Reads files, and those that they name.
pub(super) struct Loader<'a> {
    environment: &'a Lookup<'a>,
    open: &'a Opener<'a>,
    n_files: Cell<usize>,
}

/// Where a service is looked for, and where paths are from.
struct Scope<'a> {
    file: &'a File,
    directory: &'a str,
    own: &'a Map<String, Value>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(environment: &'a Lookup<'a>, open: &'a Opener<'a>) -> Self {
        Self {
            environment,
            open,
            n_files: Cell::new(0),
        }
    }

    /// Returns what `file` says; paths in it are from `directory`, and `way` are the files that led to it.
    pub(super) fn load(
        &self,
        file: &File,
        directory: &str,
        way: &mut Vec<String>,
    ) -> Result<Loaded> {
        enter(way, &file.name)?;
        let document = parsed(file, self.environment)?;
        let mut loaded = Loaded::default();
        for (name, base) in included(file, &document, directory)? {
            let more = self.load(&self.opened(&name)?, &base, way)?;
            loaded.services.extend(more.services);
            loaded.secrets.extend(more.secrets);
        }
        for (name, mut secret) in object(file, &document, "secrets")? {
            if let Some(place) = secret.get_mut("file") {
                rebase(place, directory);
            }
            loaded.secrets.insert(name, secret);
        }
        let own = object(file, &document, "services")?;
        let scope = Scope {
            file,
            directory,
            own: &own,
        };
        for name in own.keys() {
            if loaded.services.contains_key(name) {
                return Err(Error::Syntax {
                    file: file.name.clone(),
                    reason: format!("the service `{name}` is in a file that it includes, too"),
                });
            }
            let service = self.service(&scope, name, &mut Vec::new())?;
            loaded.services.insert(name.clone(), service.into());
        }
        way.pop();
        Ok(loaded)
    }

    /// Opens a file that another one names. Who extends services round and round ends here, too.
    fn opened(&self, name: &str) -> Result<File> {
        self.n_files.set(self.n_files.get() + 1);
        if self.n_files.get() > MOST_FILES {
            return Err(Error::TooMany {
                what: "compose files",
                most: MOST_FILES,
            });
        }
        let text = (self.open)(name).map_err(|reason| Error::Syntax {
            file: name.to_owned(),
            reason,
        })?;
        Ok(File::new(name, &text))
    }

    /// Returns a service with what it extends: lists and maps of both, and else what it says itself.
    fn service(
        &self,
        scope: &Scope<'_>,
        name: &str,
        names: &mut Vec<String>,
    ) -> Result<Map<String, Value>> {
        let known = scope.own.get(name).ok_or_else(|| Error::Unknown {
            name: name.to_owned(),
            needed_by: match names.last() {
                Some(by) => format!(", which the service `{by}` extends"),
                None => format!(" among the services of `{}`", scope.file.name),
            },
        })?;
        enter(names, name)?;
        let mut service = known.as_object().cloned().unwrap_or_default();
        let extends = service.remove("extends").filter(|one| !one.is_null());
        into_maps(&mut service);
        rebase_build(&mut service, scope.directory, extends.is_some());
        let Some(extends) = extends else {
            names.pop();
            return Ok(service);
        };
        let base = text(&extends).or_else(|| extends.get("service").and_then(text));
        let base = base.ok_or_else(|| Error::Form {
            place: format!("the service `{name}`"),
            name: "extends".to_owned(),
            found: crate::convert::shown(&extends),
            expected: "the name of a service".to_owned(),
        })?;
        let mut merged = match extends.get("file").and_then(text) {
            None => self.service(scope, &base, names)?,
            Some(other) => self.service_of(&joined(scope.directory, &other), &base)?,
        };
        merge_service(&mut merged, service);
        names.pop();
        Ok(merged)
    }

    fn service_of(&self, file: &str, name: &str) -> Result<Map<String, Value>> {
        let file = self.opened(file)?;
        let document = parsed(&file, self.environment)?;
        let own = object(&file, &document, "services")?;
        let scope = Scope {
            file: &file,
            directory: &parent(&file.name),
            own: &own,
        };
        self.service(&scope, name, &mut Vec::new())
    }
}

fn enter(way: &mut Vec<String>, name: &str) -> Result<()> {
    if way.iter().any(|known| known == name) || way.len() > MOST_FILES {
        return Err(Error::Cycle {
            name: name.to_owned(),
            by: way.join("`, `"),
        });
    }
    way.push(name.to_owned());
    Ok(())
}

/// Returns the files that are included, and where paths in each are from.
fn included(file: &File, document: &Value, directory: &str) -> Result<Vec<(String, String)>> {
    let failed = |reason: &str| Error::Syntax {
        file: file.name.clone(),
        reason: reason.to_owned(),
    };
    let all = match document.get("include") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(all)) => all,
        Some(_) => return Err(failed("`include` is no list")),
    };
    let mut found = Vec::new();
    for one in all {
        if one.get("env_file").is_some_and(|file| !file.is_null()) {
            return Err(Error::Unsupported {
                place: format!("`{}`", file.name),
                name: "include.env_file".to_owned(),
                reason: ": set the variables in the environment",
            });
        }
        let base = one.get("project_directory").and_then(text);
        let base = base.map(|base| joined(directory, &base));
        let paths = match one.get("path").unwrap_or(one) {
            Value::Array(paths) => paths.iter().filter_map(text).collect(),
            one => text(one).into_iter().collect::<Vec<_>>(),
        };
        if paths.is_empty() {
            return Err(failed("an entry of `include` names no file"));
        }
        for path in paths {
            let path = joined(directory, &path);
            let base = base.clone().unwrap_or_else(|| parent(&path));
            found.push((path, base));
        }
    }
    Ok(found)
}

/// A section without a context has its file's directory, unless it extends another.
fn rebase_build(service: &mut Map<String, Value>, directory: &str, extends: bool) {
    if directory.is_empty() {
        return;
    }
    match service.get_mut("build") {
        Some(Value::Object(build)) => {
            match build.get_mut("context") {
                Some(context) => rebase(context, directory),
                None if extends => {}
                None => drop(build.insert("context".to_owned(), Value::from(directory))),
            }
            if let Some(Value::Object(contexts)) = build.get_mut("additional_contexts") {
                contexts.values_mut().for_each(|one| rebase(one, directory));
            }
        }
        Some(context @ Value::String(_)) => rebase(context, directory),
        _ => {}
    }
}

fn rebase(place: &mut Value, directory: &str) {
    if let Some(path) = place.as_str() {
        *place = Value::from(joined(directory, path));
    }
}

/// Returns what `path` from `directory` is called from the working directory.
fn joined(directory: &str, path: &str) -> String {
    let starts = ["git@", "service:", "target:", "/"];
    let is_no_path = path.contains("://") || starts.iter().any(|start| path.starts_with(start));
    if directory.is_empty() || is_no_path {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "." => {}
            "" if !parts.is_empty() => {}
            ".." if !matches!(parts.last(), None | Some(&(".." | ""))) => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    cleaned(&parts.join("/"))
}

/// Returns the directory of a file; empty for the working directory.
fn parent(path: &str) -> String {
    let directory = path.rsplit_once('/').map(|(directory, _)| directory);
    directory.map_or_else(String::new, |directory| match directory {
        "" => "/".to_owned(),
        directory => directory.to_owned(),
    })
}
