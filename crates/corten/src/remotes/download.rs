//! Files by HTTP.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use corten_dockerfile::without_secrets;
use corten_registry::transport::{Body, Headers, Method, Request};
use corten_registry::{Transport as _, Url, Wire, redirect};

use crate::context::Context;
use crate::error::CommandError;
use crate::registry::RegistryArgs;

/// Gets `url` into the new file `into`; at most `longest` bytes.
///
/// Redirects are followed, but not from `https` to `http`. Nothing is sent that could be secret.
pub(crate) fn download(
    url: &str,
    into: &Path,
    longest: u64,
    ctx: &Context,
    registry: &RegistryArgs,
) -> Result<(), CommandError> {
    let get = || -> Result<(), CommandError> {
        let url = Url::parse(url).map_err(CommandError::caused)?;
        let wire = Wire::new(&registry.settings(ctx)).map_err(CommandError::caused)?;
        let mut body = body(&wire, url)?.take(longest.saturating_add(1));
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

fn body(wire: &Wire, mut url: Url) -> Result<Box<dyn io::Read + Send>, CommandError> {
    for _ in 0..redirect::LIMIT {
        let request = Request {
            method: Method::Get,
            url: url.clone(),
            headers: Headers::new(),
            body: Body::Empty,
        };
        let answer = wire.send(request).map_err(CommandError::caused)?;
        let location = answer.headers.value("location");
        let next = redirect::follow(Method::Get, &url, answer.status, location);
        match next.map_err(CommandError::caused)? {
            Some(next) => url = next.url,
            None if answer.status == 200 => return Ok(answer.body),
            None => {
                return Err(CommandError::failed(format!(
                    "the server answered with status {}",
                    answer.status
                )));
            }
        }
    }
    Err(CommandError::failed(format!(
        "there are more than {} redirects",
        redirect::LIMIT
    )))
}
