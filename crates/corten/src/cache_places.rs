//! Caches elsewhere: what users write for them, and how they are opened.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use corten_build::caches::mounts::TAG_SUFFIX;
use corten_build::caches::{CachePlace, CacheSource};
use corten_content::{Durability, Layout};
use corten_spec::Reference;

use crate::context::Context;
use crate::error::CommandError;
use crate::registry::RegistryArgs;

/// Where a cache is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CacheAt {
    /// In a registry.
    Registry(Reference),
    /// An image layout in a directory, and the cache's tag there.
    Local(PathBuf, String),
}

impl fmt::Display for CacheAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Local(path, tag) => write!(f, "{}:{tag}", path.display()),
        }
    }
}

impl CacheAt {
    /// Returns where the mounts are that belong to the cache of steps at this place.
    pub(crate) fn of_mounts(&self) -> Result<Self, String> {
        match self {
            Self::Registry(reference) => {
                let (Some(tag), None) = (reference.tag(), reference.digest()) else {
                    return Err("a digest names no mounts: they are beside a tag".to_owned());
                };
                let name = format!("{}:{tag}{TAG_SUFFIX}", reference.name());
                let parsed: Result<Reference, corten_spec::Error> = name.parse();
                parsed
                    .map(Self::Registry)
                    .map_err(|error| error.to_string())
            }
            Self::Local(path, tag) => Ok(Self::Local(path.clone(), format!("{tag}{TAG_SUFFIX}"))),
        }
    }

    /// Opens the cache, to be read and written.
    pub(crate) fn open(
        &self,
        registry: &RegistryArgs,
        ctx: &Context,
    ) -> Result<CacheSource, CommandError> {
        let (place, tag): (Box<dyn CachePlace>, String) = match self {
            Self::Registry(reference) => {
                let (repository, _) = registry.repository(ctx, reference)?;
                (Box::new(repository), reference.identifier().to_owned())
            }
            Self::Local(path, tag) => {
                let layout = Layout::create(path, Durability::Full);
                let failed =
                    |error| CommandError::doing(format!("cannot open the cache `{self}`"), error);
                (Box::new(layout.map_err(failed)?), tag.clone())
            }
        };
        let name = self.to_string();
        Ok(CacheSource { name, place, tag })
    }

    /// Makes writers of a directory take turns, so that none is overtaken between reading and writing:
    /// others wait until what is returned is dropped.
    pub(crate) fn lock(&self) -> Result<Option<File>, CommandError> {
        match self {
            Self::Registry(_) => Ok(None),
            Self::Local(path, _) => lock(path).map(Some),
        }
    }
}

fn lock(directory: &Path) -> Result<File, CommandError> {
    let path = directory.join(".corten-cache.lock");
    let open = || {
        let file = File::options().create(true).append(true).open(&path)?;
        file.lock()?;
        Ok(file)
    };
    open().map_err(|error: std::io::Error| {
        CommandError::doing(format!("cannot lock `{}`", path.display()), error)
    })
}

/// A place of mounts: `type=registry,ref=NAME`, `type=local,dest=DIR`, or NAME alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountsAt(pub(crate) CacheAt);

impl FromStr for MountsAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut options = Options::read(text)?;
        let at = match options.kind.as_str() {
            "registry" => options.registry()?,
            // As `--cache-from` and `--cache-to` have it.
            "local" => match options.local("dest") {
                Ok(at) => at,
                Err(_) => options.local("src")?,
            },
            other => {
                return Err(format!(
                    "`{other}` is not a kind of place for mounts; `registry` and `local` are"
                ));
            }
        };
        options.finish()?;
        at.of_mounts().map(Self)
    }
}

/// `KEY=VALUE,…`
pub(crate) struct Options {
    pub(crate) kind: String,
    values: BTreeMap<String, String>,
}

impl Options {
    /// Reads `KEY=VALUE,…`, or the name of a cache in a registry.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            let values = BTreeMap::from([("ref".to_owned(), text.to_owned())]);
            let kind = "registry".to_owned();
            return Ok(Self { kind, values });
        }
        let mut values = BTreeMap::new();
        for part in text.split(',') {
            let Some((key, value)) = part.split_once('=') else {
                return Err(format!("`{part}` is not of the form `KEY=VALUE`"));
            };
            if values.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(format!("`{key}` is there twice"));
            }
        }
        let kind = values.remove("type").ok_or("it does not say its `type`")?;
        Ok(Self { kind, values })
    }

    /// Takes the value of `key` out.
    pub(crate) fn take(&mut self, key: &str) -> Option<String> {
        self.values.remove(key)
    }

    /// Takes the value of `key` out, which is a truth value.
    pub(crate) fn flag(&mut self, key: &str) -> Result<Option<bool>, String> {
        match self.take(key).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(format!("`{key}` is `true` or `false`, not `{other}`")),
        }
    }

    /// Takes out which tag of which repository it is.
    pub(crate) fn registry(&mut self) -> Result<CacheAt, String> {
        let name = self
            .take("ref")
            .ok_or("it does not say its name: `ref=NAME`")?;
        let reference: Reference = name
            .parse()
            .map_err(|error: corten_spec::Error| error.to_string())?;
        Ok(CacheAt::Registry(reference.or_latest()))
    }

    /// Takes out which directory it is, by `key`, and which tag.
    pub(crate) fn local(&mut self, key: &str) -> Result<CacheAt, String> {
        let path = self.take(key).filter(|path| !path.is_empty());
        let path = path.ok_or(format!("it does not say its directory: `{key}=DIR`"))?;
        let tag = self.take("tag").unwrap_or_else(|| "latest".to_owned());
        Ok(CacheAt::Local(path.into(), tag))
    }

    /// Takes out whether mounts are meant as well, which have to have a place beside `at`.
    pub(crate) fn mounts(&mut self, at: &CacheAt) -> Result<bool, String> {
        let wanted = self.flag("mounts")? == Some(true);
        if wanted {
            at.of_mounts()?;
        }
        Ok(wanted)
    }

    /// Refuses what is left.
    pub(crate) fn finish(self) -> Result<(), String> {
        match self.values.into_keys().next() {
            Some(key) => Err(format!(
                "`{key}` is not a known option of a cache of this kind"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_mounts_are() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            let found = text.parse::<MountsAt>().map(|at| at.0.to_string()).ok();
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }
        check("x.io/a", Some("x.io/a:latest-mounts"));
        check("type=registry,ref=x.io/a:1", Some("x.io/a:1-mounts"));
        check("type=local,dest=c", Some("c:latest-mounts"));
        check("type=local,src=c,tag=t", Some("c:t-mounts"));
        check("type=local", None);
        check("type=local,dest=c,mode=max", None);
        check("type=inline", None);
        check(&format!("x.io/a@sha256:{}", "0".repeat(64)), None);
        check(&format!("x.io/a:{}", "t".repeat(128)), None);
    }
}
