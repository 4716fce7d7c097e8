//! What of a build has to do with its cache: the arguments, and what users write in them.

use std::str::FromStr;

use clap::Args;

use crate::cache_places::{CacheAt, Options};

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
    /// with `mounts=true` also what `RUN --mount=type=cache` kept; may be repeated. A cache is to be
    /// trusted like a base image
    #[arg(long, value_name = "PLACE")]
    pub(crate) cache_from: Vec<CacheFrom>,
    /// Write what the steps made to this cache: `type=registry,ref=NAME[,mode=max]`,
    /// `type=local,dest=DIR[,mode=max]`, `type=inline`, or NAME alone; with `mounts=true` also what
    /// `RUN --mount=type=cache` keeps; may be repeated
    #[arg(long, value_name = "PLACE")]
    pub(crate) cache_to: Vec<CacheTo>,
}

/// One `--cache-from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheFrom {
    pub(crate) at: CacheAt,
    /// Whether caches of RUN begin with what is there.
    pub(crate) mounts: bool,
}

/// One `--cache-to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheTo {
    /// `None` for the image itself.
    pub(crate) at: Option<CacheAt>,
    /// Whether steps go there whose layers the image does not have.
    pub(crate) is_max: bool,
    /// What the layers must be compressed with.
    pub(crate) compression: Option<String>,
    /// Whether the caches of RUN go there that commands used.
    pub(crate) mounts: bool,
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
        let mounts = options.mounts(&at)?;
        options.finish()?;
        Ok(Self { at, mounts })
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
        let mounts = match &at {
            Some(at) => options.mounts(at)?,
            None if options.flag("mounts")? == Some(true) => {
                return Err("an image has no mounts: no `mounts=true`".to_owned());
            }
            None => false,
        };
        let may_fail = options.flag("ignore-error")? == Some(true);
        let compression = options.take("compression");
        options.finish()?;
        Ok(Self {
            at,
            is_max,
            compression,
            mounts,
            may_fail,
        })
    }
}

fn unknown(kind: &str, known: &str) -> String {
    format!("`{kind}` is not a kind of cache that is supported; {known} are")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_caches_come_from() {
        #[track_caller]
        fn check(text: &str, expected: Result<&str, &str>) {
            let found = text.parse::<CacheFrom>().map(|from| from.at.to_string());
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
        check("type=local,src=c,mounts=true", Ok("c:latest"));
        check("type=registry,ref=x.io/a,mounts=1", Ok("x.io/a:latest"));
        let digest = format!("x.io/a@sha256:{}", "0".repeat(64));
        check(&format!("type=registry,ref={digest}"), Ok(&digest));
        check(
            &format!("type=registry,ref={digest},mounts=true"),
            Err("a digest names no mounts: they are beside a tag"),
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
            "type=inline,mounts=true",
            Err("an image has no mounts: no `mounts=true`"),
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
