//! Redirects of a server that is sent a secret.
//!
//! Git takes its headers along wherever it is redirected to, and is therefore told to follow nothing. Where
//! a server renamed a repository and still leads to it, this finds out where to; the secret goes to no
//! other scheme, host or port than the one it is for.

use corten_registry::transport::{Body, Headers, Method, Request};
use corten_registry::{Secret, Transport as _, Url, Wire, redirect};

use crate::error::CommandError;

/// What git asks for first (its `http-protocol`, "Smart Clients").
const FIRST: &str = "/info/refs";

/// Returns where the server of `remote`, sent `secret`, says that the repository is now; `None` if it does not
/// redirect.
///
/// # Errors
/// Fails if it leads to another server, or to what is no repository.
pub(super) fn destination(
    remote: &str,
    secret: &Secret,
    wire: &Wire,
) -> Result<Option<String>, CommandError> {
    let first = format!("{}{FIRST}", remote.trim_end_matches('/'));
    let begun = Url::parse(&first).map_err(CommandError::caused)?;
    let begun = begun.with("service", "git-upload-pack");
    let mut url = begun.clone();
    for n_followed in 0..=redirect::LIMIT {
        let mut headers = Headers::new();
        headers.add("Authorization", secret.expose());
        let request = Request {
            method: Method::Get,
            url: url.clone(),
            headers,
            body: Body::Empty,
        };
        let answer = wire.send(request).map_err(CommandError::caused)?;
        let location = answer.headers.value("location");
        let next = redirect::follow(Method::Get, &url, answer.status, location);
        let Some(next) = next.map_err(CommandError::caused)? else {
            let is_moved = n_followed > 0;
            return is_moved.then(|| repository(&url)).transpose();
        };
        if !next.keeps_authorization {
            return Err(CommandError::failed(format!(
                "it redirects to another server, `{}`, to which the secret is not sent",
                next.url.authority()
            ))
            .hint("name the address that it redirects to, with a secret for that host"));
        }
        url = next.url;
    }
    Err(CommandError::failed(format!(
        "there are more than {} redirects",
        redirect::LIMIT
    )))
}

/// Returns the repository of which `url` is what is asked for first.
fn repository(url: &Url) -> Result<String, CommandError> {
    let wire = url.to_wire();
    let path = wire.split('?').next().unwrap_or_default();
    let repository = path.strip_suffix(FIRST).map(str::to_owned);
    repository.ok_or_else(|| {
        CommandError::failed(format!(
            "it redirects to `{url}`, which is no address of a repository"
        ))
    })
}
