//! How registries are reached: the options that all commands about them share.

mod files;
mod reach;

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use corten_registry::settings::Proxies;
use corten_registry::{
    Candidate, Certificates, Client, CredentialFiles, Mirror, Part, Repository, Settings,
};
use corten_spec::Reference;

use crate::context::Context;
use crate::env::Environment;
use crate::error::CommandError;
use crate::remotes::authorization::ServerSecrets;

pub(crate) use reach::{Hosts, Reach};

/// How registries are reached.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct RegistryArgs {
    /// Speak to the registry without TLS; loopback addresses always are spoken to so
    #[arg(long)]
    pub(crate) plain_http: bool,
    /// Accept any certificate of the registry
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Check the certificate of the registry, as is usual; without is `--insecure`
    #[arg(long, hide = true, value_name = "BOOL")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) tls_verify: Option<bool>,
    /// Trust the authorities in this PEM file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Take the registry's certificates from this directory: `*.crt` of authorities, `*.cert` and
    /// `*.key` of our own
    #[arg(long, value_name = "DIR")]
    pub(crate) cert_dir: Option<PathBuf>,
    /// Ask this mirror of a registry first, as in `docker.io=https://mirror.example`
    #[arg(long, value_name = "HOST=URL")]
    pub(crate) mirror: Vec<MirrorArg>,
    /// Ask no mirror, not even those in `$CORTEN_MIRRORS`
    #[arg(long, conflicts_with = "mirror")]
    pub(crate) no_mirror: bool,
    /// Transfer so many blobs at once
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) jobs: usize,
    /// What is said of single hosts, which only `corten kaniko` does.
    #[arg(skip)]
    pub(crate) reach: Reach,
    /// What a build signs in with to servers that are no registries.
    #[arg(skip)]
    pub(crate) server_secrets: ServerSecrets,
}

/// Which part of a list is printed.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListArgs {
    /// Print the first of them only, so many
    #[arg(long, value_name = "N")]
    first: Option<usize>,
    /// Print what comes after this name, which need not be there
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
}

impl ListArgs {
    /// Returns what to ask a registry for.
    pub(crate) fn part(&self) -> Part {
        Part {
            after: self.after.clone(),
            limit: self.first,
        }
    }
}

/// Reads what can be in a registry only, with or without `docker://`.
pub(crate) fn in_registry(text: &str) -> Result<Reference, String> {
    let name = text.strip_prefix("docker://").unwrap_or(text);
    name.parse()
        .map_err(|error: corten_spec::Error| error.to_string())
}

/// A mirror as it is given: `HOST=URL`.
#[derive(Debug, Clone)]
pub(crate) struct MirrorArg(Mirror);

impl FromStr for MirrorArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text.split_once('=') {
            Some((of, base)) if !of.is_empty() && !base.is_empty() => Ok(Self(Mirror {
                of: of.to_owned(),
                base: base.to_owned(),
                prefix: String::new(),
            })),
            _ => Err("expected `HOST=URL`"),
        }
    }
}

impl RegistryArgs {
    /// Returns a client for the registry `host`.
    pub(crate) fn client(&self, ctx: &Context, host: &str) -> Result<Client, CommandError> {
        let only = |is_on: bool| {
            if is_on {
                vec![host.to_owned()]
            } else {
                Vec::new()
            }
        };
        let mut settings = Settings {
            credentials: credential_files(&ctx.env),
            mirrors: self.mirrors(&ctx.env)?,
            plain_http: only(self.plain_http),
            insecure: only(self.insecure || self.tls_verify == Some(false)),
            rules: files::rules(&ctx.env)?,
            ..self.settings(ctx)
        };
        if let Some(directory) = &self.cert_dir {
            let of = &mut settings.certificates.of;
            of.insert(host.to_owned(), directory.clone());
        }
        if self.no_mirror {
            settings.rules.forget_mirrors();
        }
        for host in settings.rules.insecure_hosts(host) {
            settings.insecure.push(host.clone());
            if !self.reach.has_tls(&host, &settings)? {
                settings.plain_http.push(host);
            }
        }
        self.reach.apply(host, &mut settings)?;
        Client::new(settings).map_err(CommandError::caused)
    }

    /// Returns how any server is reached: what trusts a registry more than others is left out.
    pub(crate) fn settings(&self, ctx: &Context) -> Settings {
        Settings {
            ca_file: self.ca_file.clone(),
            certificates: Certificates {
                directories: files::certificate_directories(&ctx.env),
                ..Certificates::default()
            },
            proxies: proxies(&ctx.env),
            ..Settings::default()
        }
    }

    /// Returns the repository that `reference` names.
    pub(crate) fn repository(
        &self,
        ctx: &Context,
        reference: &Reference,
    ) -> Result<(Repository, Client), CommandError> {
        let client = self.client(ctx, reference.registry())?;
        let repository = Repository::new(&client, reference).map_err(CommandError::caused)?;
        Ok((repository, client))
    }

    fn mirrors(&self, env: &Environment) -> Result<Vec<Mirror>, CommandError> {
        if self.no_mirror {
            return Ok(Vec::new());
        }
        let given = self.mirror.iter().map(|mirror| mirror.0.clone());
        let usual = env.mirrors.as_deref().unwrap_or_default();
        let usual = usual
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(|text| {
                let mirror = text.parse::<MirrorArg>().map(|mirror| mirror.0);
                mirror.map_err(|reason| {
                    CommandError::usage(format!("`CORTEN_MIRRORS` has `{text}`: {reason}"))
                })
            });
        given.map(Ok).chain(usual).collect()
    }
}

/// Returns the files that may hold credentials, in the order in which they are looked into.
pub(crate) fn credential_files(env: &Environment) -> CredentialFiles {
    let config_home = env
        .config_home
        .clone()
        .or_else(|| Some(env.home.as_ref()?.join(".config")));
    let docker = env
        .docker_config
        .clone()
        .or_else(|| Some(env.home.as_ref()?.join(".docker")));
    // Where podman keeps them without a session. It is gone with the next start of the machine, so
    // nothing of ours is kept there, and it comes last.
    let uid = rustix::process::getuid().as_raw();
    let without_session = PathBuf::from(format!("/run/containers/{uid}"));
    let below = |folder: Option<PathBuf>, file: &str, origin: &str| Candidate {
        path: folder.map(|folder| folder.join(file)),
        origin: origin.to_owned(),
    };
    CredentialFiles {
        candidates: vec![
            Candidate {
                path: env.auth_file.clone(),
                origin: "$REGISTRY_AUTH_FILE".to_owned(),
            },
            below(
                env.runtime_dir.clone(),
                AUTH_FILE,
                "$XDG_RUNTIME_DIR/containers/auth.json",
            ),
            below(
                config_home,
                AUTH_FILE,
                "$XDG_CONFIG_HOME/containers/auth.json",
            ),
            below(docker, "config.json", "$DOCKER_CONFIG/config.json"),
            below(Some(without_session), "auth.json", "/run/containers"),
        ],
        ..CredentialFiles::default()
    }
}

const AUTH_FILE: &str = "containers/auth.json";

fn proxies(env: &Environment) -> Proxies {
    let bypass = env.no_proxy.as_deref().unwrap_or_default().split(',');
    Proxies {
        http: env.http_proxy.clone(),
        https: env.https_proxy.clone(),
        bypass: bypass
            .map(|entry| entry.trim().to_owned())
            .filter(|entry| !entry.is_empty())
            .collect(),
    }
}

/// Passes on what a registry wants its users to know.
pub(crate) fn show_warnings(ctx: &Context, client: &Client) {
    for warning in client.warnings() {
        ctx.output
            .warn(&format!("{}: {}", warning.host, warning.text));
    }
}
