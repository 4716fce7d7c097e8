//! What of a build has to do with its cache: the arguments, and what users write in them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use corten_spec::Reference;

/// What of a build has to do with its cache.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cache options")]
pub(crate) struct CachingArgs {
    /// Run every step, also those whose result is known
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Run every step of these stages
    #[arg(
        long,
        value_name = "STAGE",
        value_delimiter = ',',
        conflicts_with = "no_cache"
    )]
    pub(crate) no_cache_filter: Vec<String>,
    /// Tell for each step that was not in the cache which of its inputs changed
    #[arg(long)]
    pub(crate) explain: bool,
    /// Take steps from this cache, too: `type=registry,ref=NAME`, `type=local,src=DIR`, or NAME alone;
    /// may be repeated. A cache is to be trusted like a base image
    #[arg(long, value_name = "PLACE")]
    pub(crate) cache_from: Vec<CacheFrom>,
    /// Write what the steps made to this cache: `type=registry,ref=NAME[,mode=max]`,
    /// `type=local,dest=DIR[,mode=max]`, `type=inline`, or NAME alone; may be repeated
    #[arg(long, value_name = "PLACE")]
    pub(crate) cache_to: Vec<CacheTo>,
}

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

/// One `--cache-from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheFrom(pub(crate) CacheAt);

/// One `--cache-to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheTo {
    /// `None` for the image itself.
    pub(crate) at: Option<CacheAt>,
    /// Whether steps go there whose layers the image does not have.
    pub(crate) is_max: bool,
    /// What the layers must be compressed with.
    pub(crate) compression: Option<String>,
    /// Whether the build goes on when the cache cannot be written.
    pub(crate) may_fail: bool,
}

impl FromStr for CacheFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut options = Options::read(text)?;
        let at = match options.kind.as_str() {
            "registry" => options.registry()?,
            "local" => options.local("src")?,
            // The image holds the records, so it is named like any cache.
            "inline" => return Err("name the image: `type=registry,ref=NAME`".to_owned()),
            other => return Err(unknown(other, "`registry` and `local`")),
        };
        options.finish()?;
        Ok(Self(at))
    }
}

impl FromStr for CacheTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut options = Options::read(text)?;
        let at = match options.kind.as_str() {
            "registry" => Some(options.registry()?),
            "local" => Some(options.local("dest")?),
            "inline" => None,
            other => return Err(unknown(other, "`registry`, `local` and `inline`")),
        };
        let is_max = match options.take("mode").as_deref() {
            None | Some("min") => false,
            Some("max") if at.is_some() => true,
            Some("max") => return Err("an image has no layers but its own: no `mode=max`".into()),
            Some(other) => return Err(format!("`mode` is `min` or `max`, not `{other}`")),
        };
        for needed in ["image-manifest", "oci-mediatypes"] {
            if options.flag(needed)? == Some(false) {
                return Err(format!(
                    "`{needed}=false` is not supported: a cache is an OCI image"
                ));
            }
        }
        let may_fail = options.flag("ignore-error")? == Some(true);
        let compression = options.take("compression");
        options.finish()?;
        Ok(Self {
            at,
            is_max,
            compression,
            may_fail,
        })
    }
}

fn unknown(kind: &str, known: &str) -> String {
    format!("`{kind}` is not a kind of cache that is supported; {known} are")
}

/// `KEY=VALUE,…`
struct Options {
    kind: String,
    values: BTreeMap<String, String>,
}

impl Options {
    fn read(text: &str) -> Result<Self, String> {
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

    fn take(&mut self, key: &str) -> Option<String> {
        self.values.remove(key)
    }

    fn flag(&mut self, key: &str) -> Result<Option<bool>, String> {
        match self.take(key).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(format!("`{key}` is `true` or `false`, not `{other}`")),
        }
    }

    fn registry(&mut self) -> Result<CacheAt, String> {
        let name = self
            .take("ref")
            .ok_or("it does not say its name: `ref=NAME`")?;
        let reference: Reference = name
            .parse()
            .map_err(|error: corten_spec::Error| error.to_string())?;
        Ok(CacheAt::Registry(reference.or_latest()))
    }

    fn local(&mut self, key: &str) -> Result<CacheAt, String> {
        let path = self.take(key).filter(|path| !path.is_empty());
        let path = path.ok_or(format!("it does not say its directory: `{key}=DIR`"))?;
        let tag = self.take("tag").unwrap_or_else(|| "latest".to_owned());
        Ok(CacheAt::Local(path.into(), tag))
    }

    fn finish(self) -> Result<(), String> {
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
    fn where_caches_come_from() {
        #[track_caller]
        fn check(text: &str, expected: Result<&str, &str>) {
            let found = text.parse::<CacheFrom>().map(|from| from.0.to_string());
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(found, expected, "{text:?}");
        }
        check("x.io/a/cache", Ok("x.io/a/cache:latest"));
        check("type=registry,ref=x.io/a:1", Ok("x.io/a:1"));
        check("ref=x.io/a:1,type=registry", Ok("x.io/a:1"));
        check("type=local,src=../c", Ok("../c:latest"));
        check("type=local,src=c,tag=main", Ok("c:main"));
        check(
            "type=local,dest=c",
            Err("it does not say its directory: `src=DIR`"),
        );
        check("type=registry", Err("it does not say its name: `ref=NAME`"));
        check(
            "type=gha,url=x",
            Err("`gha` is not a kind of cache that is supported; `registry` and `local` are"),
        );
        check("ref=a", Err("it does not say its `type`"));
        check(
            "type=local,src=c,digest=sha256:x",
            Err("`digest` is not a known option of a cache of this kind"),
        );
    }

    #[test]
    fn where_caches_go() {
        #[track_caller]
        fn check(text: &str, expected: Result<(Option<&str>, bool), &str>) {
            let found = text.parse::<CacheTo>();
            let found = found.map(|to| (to.at.map(|at| at.to_string()), to.is_max));
            let expected = expected.map(|(at, is_max)| (at.map(str::to_owned), is_max));
            assert_eq!(found, expected.map_err(str::to_owned), "{text:?}");
        }
        check("type=inline", Ok((None, false)));
        check(
            "type=registry,ref=x.io/a,mode=max",
            Ok((Some("x.io/a:latest"), true)),
        );
        check(
            "type=registry,ref=x.io/a,mode=min,image-manifest=true,ignore-error=true",
            Ok((Some("x.io/a:latest"), false)),
        );
        check(
            "type=local,dest=c,compression=zstd",
            Ok((Some("c:latest"), false)),
        );
        check(
            "type=inline,mode=max",
            Err("an image has no layers but its own: no `mode=max`"),
        );
        check(
            "type=local,dest=c,mode=all",
            Err("`mode` is `min` or `max`, not `all`"),
        );
        check(
            "type=registry,ref=x.io/a,image-manifest=false",
            Err("`image-manifest=false` is not supported: a cache is an OCI image"),
        );
    }
}
