//! What the commands of a build get and may do: secrets, agents, network, names of hosts.

use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use corten_build::{Allowed, RunOptions};
use corten_dockerfile::Network;
use corten_sandbox::Content;

use super::agents;
use crate::env;
use crate::error::CommandError;

/// Flags about RUN.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Give a secret to `RUN --mount=type=secret`: `id=ID,src=FILE` or `id=ID,env=NAME`
    #[arg(long, value_name = "id=ID[,src=FILE|env=NAME]")]
    secret: Vec<SecretSource>,
    /// Give an SSH agent, or one that has the keys in files, to `RUN --mount=type=ssh` [default socket:
    /// `$SSH_AUTH_SOCK`]
    #[arg(long, value_name = "default|ID[=SOCKET|KEY[,KEY]]")]
    ssh: Vec<String>,
    /// The network of RUN
    #[arg(long, value_enum, default_value_t)]
    network: RunNetwork,
    /// Allow what a Dockerfile cannot ask for otherwise; may be repeated
    #[arg(long, value_enum, value_name = "ENTITLEMENT")]
    allow: Vec<Entitlement>,
    /// Add a name to `/etc/hosts` of RUN
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<Host>,
}

/// The network that commands have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum RunNetwork {
    /// That of the host
    #[default]
    Default,
    /// That of the host
    Host,
    /// Nothing but a loopback interface
    None,
}

/// What a Dockerfile may ask for if it is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Entitlement {
    /// `RUN --network=host` with `--network none`
    #[value(name = "network.host")]
    NetworkHost,
    /// `RUN --security=insecure`
    #[value(name = "security.insecure")]
    SecurityInsecure,
}

/// As docker has it.
const MAX_SECRET: u64 = 500 << 10;

impl RunArgs {
    /// Reads secrets, and finds agents.
    pub(crate) fn options(&self) -> Result<RunOptions, CommandError> {
        let mut options = RunOptions {
            network: match self.network {
                RunNetwork::Default | RunNetwork::Host => Network::Host,
                RunNetwork::None => Network::None,
            },
            hosts: self
                .add_host
                .iter()
                .map(|host| (host.name.clone(), host.address))
                .collect(),
            allowed: Allowed {
                host_network: self.allow.contains(&Entitlement::NetworkHost),
                insecure: self.allow.contains(&Entitlement::SecurityInsecure),
            },
            ..RunOptions::default()
        };
        for secret in &self.secret {
            options.secrets.insert(secret.id.clone(), secret.read()?);
        }
        for agent in &self.ssh {
            let (id, agent) = agents::agent(agent)?;
            options.agents.insert(id, agent);
        }
        Ok(options)
    }
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SecretSource {
    id: String,
    place: SecretPlace,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum SecretPlace {
    File(PathBuf),
    Variable(String),
    /// The variable of the same name if there is one, else the file.
    Either,
}

impl FromStr for SecretSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
        for field in text.split(',') {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| format!("`{field}` is no `key=value`"))?;
            let slot = match key.to_lowercase().as_str() {
                "id" => &mut id,
                "src" | "source" => &mut file,
                "env" => &mut variable,
                "type" if matches!(value, "file" | "env") => &mut kind,
                "type" => {
                    return Err(format!(
                        "`{value}` is no type of secret: `file` or `env` is"
                    ));
                }
                _ => {
                    return Err(format!(
                        "unknown key `{key}`: `id`, `src`, `env` and `type` are known"
                    ));
                }
            };
            *slot = Some(value.to_owned()).filter(|value| !value.is_empty());
        }
        let id = id.ok_or("the secret has no `id`")?;
        if kind.as_deref() == Some("env") && variable.is_none() {
            variable = file.take();
        }
        let place = match (file, variable) {
            // As docker has it, a variable wins.
            (_, Some(variable)) => SecretPlace::Variable(variable),
            (Some(file), None) => SecretPlace::File(file.into()),
            (None, None) => SecretPlace::Either,
        };
        Ok(Self { id, place })
    }
}

impl SecretSource {
    fn read(&self) -> Result<Content, CommandError> {
        let bytes = match &self.place {
            SecretPlace::File(file) => self.read_file(file)?,
            // One that is not set is empty, as docker has it.
            SecretPlace::Variable(name) => env::lookup(name).unwrap_or_default().into_bytes(),
            SecretPlace::Either => match env::lookup(&self.id) {
                Some(value) => value.into_bytes(),
                None => self.read_file(Path::new(&self.id))?,
            },
        };
        Ok(Content(bytes))
    }

    fn read_file(&self, path: &Path) -> Result<Vec<u8>, CommandError> {
        let failed = |error| {
            let shown = path.display();
            CommandError::doing(
                format!("cannot read the secret `{}` from `{shown}`", self.id),
                error,
            )
        };
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(failed)?;
        file.take(MAX_SECRET + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > MAX_SECRET {
            return Err(CommandError::failed(format!(
                "the secret `{}` is larger than {} KiB",
                self.id,
                MAX_SECRET >> 10
            )));
        }
        Ok(bytes)
    }
}

/// A name of a host and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    name: String,
    address: IpAddr,
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // An IPv6 address has colons, too.
        let (name, address) = text
            .split_once('=')
            .or_else(|| text.split_once(':'))
            .ok_or("expected `NAME:ADDRESS`")?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(format!("`{name}` is no name of a host"));
        }
        let bare = address
            .strip_prefix('[')
            .and_then(|address| address.strip_suffix(']'))
            .unwrap_or(address);
        // Commands have the network of the host, which is its own gateway.
        let bare = if bare == "host-gateway" {
            "127.0.0.1"
        } else {
            bare
        };
        let address = bare
            .parse()
            .map_err(|_| format!("`{address}` is no address"))?;
        Ok(Self {
            name: name.to_owned(),
            address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_secrets() {
        #[track_caller]
        fn check(text: &str, id: &str, place: SecretPlace) {
            let id = id.to_owned();
            assert_eq!(text.parse(), Ok(SecretSource { id, place }), "{text}");
        }
        let file = |path: &str| SecretPlace::File(path.into());
        let variable = |name: &str| SecretPlace::Variable(name.to_owned());
        check("id=a,src=f", "a", file("f"));
        check("source=f=g,id=a,type=file", "a", file("f=g"));
        check("id=a,env=N", "a", variable("N"));
        check("type=env,id=a,src=N", "a", variable("N"));
        check("id=a,src=f,env=N", "a", variable("N"));
        check("ID=a", "a", SecretPlace::Either);
        for wrong in ["", "a", "src=f", "id=", "id=a,type=dir", "id=a,mode=1"] {
            assert!(wrong.parse::<SecretSource>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_hosts() {
        #[track_caller]
        fn check(text: &str, expected: Option<(&str, &str)>) {
            let host = text.parse::<Host>().ok();
            let host = host.map(|host| (host.name, host.address.to_string()));
            let expected = expected.map(|(name, address)| (name.to_owned(), address.to_owned()));
            assert_eq!(host, expected, "{text}");
        }
        check("a:1.2.3.4", Some(("a", "1.2.3.4")));
        check("a.b-c=::1", Some(("a.b-c", "::1")));
        check("a:[fd00::1]", Some(("a", "fd00::1")));
        check("a:fd00::1", Some(("a", "fd00::1")));
        check("a:host-gateway", Some(("a", "127.0.0.1")));
        check("a", None);
        check("a:b", None);
        check("a b:1.2.3.4", None);
        check("a\nb:1.2.3.4", None);
        check(":1.2.3.4", None);
    }
}
