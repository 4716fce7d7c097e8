//! `corten login`

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use clap::Args;
use corten_registry::{Credentials, Secret};

use crate::context::Context;
use crate::error::CommandError;
use crate::registry::{RegistryArgs, credential_files};

/// Sign in to a registry
///
/// The credentials are kept where Docker and containers keep theirs, by their credential helper if
/// one is named there.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The registry's host, such as `ghcr.io`
    #[arg(value_name = "HOST", default_value = "docker.io")]
    host: String,
    /// The user
    #[arg(long, short, value_name = "USER")]
    username: String,
    /// Read the password, or an access token, from standard input
    #[arg(long, required = true)]
    password_stdin: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// No password is longer; a file that was piped in by mistake is not read to its end.
const LONGEST_PASSWORD: u64 = 64 << 10;

pub(crate) fn run(args: &LoginArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let host = host(&args.host)?;
    let credentials = Credentials::Basic {
        username: args.username.clone(),
        password: Secret::new(password()?),
    };
    let login = || {
        let client = args.registry.client(ctx, host)?;
        client
            .check_login(host, &credentials)
            .map_err(CommandError::caused)?;
        credential_files(&ctx.env)
            .store(host, &credentials)
            .map_err(CommandError::caused)
    };
    let path = login().map_err(|error| error.while_doing(format!("cannot sign in to `{host}`")))?;
    ctx.output.note(&format!(
        "signed in to `{host}`; the credentials are in `{}`",
        path.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Returns the host of a registry, which people also give as a URL.
pub(super) fn host(text: &str) -> Result<&str, CommandError> {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .unwrap_or(text);
    let host = host.trim_end_matches('/');
    let host = if matches!(
        host,
        "index.docker.io" | "index.docker.io/v1" | "registry-1.docker.io"
    ) {
        "docker.io"
    } else {
        host
    };
    if host.is_empty() || host.contains('/') {
        return Err(CommandError::usage(format!(
            "`{text}` is not the host of a registry"
        )));
    }
    Ok(host)
}

fn password() -> Result<String, CommandError> {
    if std::io::stdin().is_terminal() {
        return Err(CommandError::usage(
            "standard input is a terminal, which would show the password",
        )
        .hint("pipe it in, as in `pass show registry | corten login …`"));
    }
    let mut text = String::new();
    std::io::stdin()
        .take(LONGEST_PASSWORD)
        .read_to_string(&mut text)
        .map_err(|error| {
            CommandError::doing("cannot read the password from standard input", error)
        })?;
    let password = text.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Err(CommandError::usage(
            "there is no password on standard input",
        ));
    }
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            assert_eq!(host(text).ok(), expected, "{text:?}");
        }
        check("ghcr.io", Some("ghcr.io"));
        check("localhost:5000", Some("localhost:5000"));
        check("https://ghcr.io/", Some("ghcr.io"));
        check("https://index.docker.io/v1/", Some("docker.io"));
        check("ghcr.io/acme", None);
        check("", None);
    }
}
