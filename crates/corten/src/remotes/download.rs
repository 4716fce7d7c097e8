//! Files by HTTP, and objects in buckets.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use corten_build::rules::SourceRules;
use corten_dockerfile::without_secrets;
use corten_registry::transport::Headers;

use crate::context::Context;
use crate::error::CommandError;
use crate::registry::RegistryArgs;
use crate::remotes::{Fetcher, objects};

/// Gets `url` into the new file `into`; at most `longest` bytes.
///
/// Redirects are followed, but not from `https` to `http`. The user and the password in `url` go to no
/// server but its own.
pub(crate) fn download(
    url: &str,
    into: &Path,
    longest: u64,
    ctx: &Context,
    registry: &RegistryArgs,
) -> Result<(), CommandError> {
    let get = || -> Result<(), CommandError> {
        let body: Box<dyn Read + Send> = match objects::object(url, ctx, registry)? {
            Some(object) => Box::new(object),
            None => by_http(url, ctx, registry)?,
        };
        let mut body = body.take(longest.saturating_add(1));
        let failed =
            |error| CommandError::doing(format!("cannot write `{}`", into.display()), error);
        let mut file = fs::File::create_new(into).map_err(failed)?;
        let n_copied = io::copy(&mut body, &mut file).map_err(CommandError::caused)?;
        if n_copied > longest {
            return Err(CommandError::failed(format!(
                "it is longer than {longest} bytes"
            )));
        }
        Ok(())
    };
    let doing = || format!("cannot get `{}`", without_secrets(url));
    get().map_err(|error| error.while_doing(doing()))
}

fn by_http(
    url: &str,
    ctx: &Context,
    registry: &RegistryArgs,
) -> Result<Box<dyn Read + Send>, CommandError> {
    // Rules are about what instructions name; a context was named by whoever builds.
    let rules = SourceRules::default();
    let answer = Fetcher::new(ctx, registry, &rules).get(url, &Headers::new())?;
    if answer.status != 200 {
        return Err(CommandError::failed(format!(
            "the server answered with status {}",
            answer.status
        )));
    }
    Ok(answer.body)
}
