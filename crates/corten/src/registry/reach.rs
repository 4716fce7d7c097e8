//! How single hosts are reached, where not all are reached alike.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use corten_registry::transport::{Body, Headers, Method, Request};
use corten_registry::{Mirror, Settings, Transport as _, Url, Wire};

use crate::error::CommandError;

/// What is particular about hosts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    /// Those that are spoken to without TLS if they have none.
    pub(crate) plain: Hosts,
    /// Those whose certificates are not checked.
    pub(crate) insecure: Hosts,
    /// Authorities that are trusted for one host.
    pub(crate) certificates: BTreeMap<String, PathBuf>,
    /// Mirrors that are asked before those of the environment.
    pub(crate) mirrors: Vec<Mirror>,
    /// Whether registries with mirrors are not asked themselves.
    pub(crate) only_mirrors: bool,
    /// How often a request is repeated at least.
    pub(crate) retries: u32,
    /// What was found out about hosts that may be without TLS.
    found: Arc<Mutex<BTreeMap<String, bool>>>,
}

/// Some hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hosts {
    /// Those that are always among them.
    pub(crate) named: BTreeSet<String>,
    /// Those to which something is pushed.
    pub(crate) pushed: BTreeSet<String>,
    /// Whether the pushed ones are among them.
    pub(crate) are_pushed: bool,
    /// Whether all others are.
    pub(crate) are_others: bool,
}

impl Hosts {
    fn contain(&self, host: &str) -> bool {
        let is_meant = if self.pushed.contains(host) {
            self.are_pushed
        } else {
            self.are_others
        };
        is_meant || self.named.contains(host)
    }
}

impl Reach {
    /// Changes how the registry `host` and its mirrors are reached.
    pub(super) fn apply(&self, host: &str, settings: &mut Settings) -> Result<(), CommandError> {
        settings.mirrors.splice(0..0, self.mirrors.iter().cloned());
        settings.only_mirrors |= self.only_mirrors;
        settings.retry.limit = settings.retry.limit.max(self.retries);
        let of_host = settings.mirrors.iter().filter(|mirror| mirror.of == host);
        let bases = of_host.map(|mirror| mirror.base.clone());
        let hosts: Vec<_> = bases.chain([host.to_owned()]).collect();
        for host in &hosts {
            if self.insecure.contain(host) {
                settings.insecure.push(host.clone());
            }
        }
        if let Some(file) = self.certificate(&hosts)? {
            settings.ca_file = Some(file);
        }
        for host in hosts {
            if self.plain.contain(&host) && !self.has_tls(&host, settings)? {
                settings.plain_http.push(host);
            }
        }
        Ok(())
    }

    fn certificate(&self, hosts: &[String]) -> Result<Option<PathBuf>, CommandError> {
        let files = hosts.iter().filter_map(|host| self.certificates.get(host));
        let mut files: Vec<_> = files.cloned().collect();
        files.dedup();
        match files.as_slice() {
            [] => Ok(None),
            [file] => Ok(Some(file.clone())),
            _ => Err(CommandError::usage(format!(
                "there are several files of certificates for {}",
                hosts.join(" and ")
            ))
            .hint("put the authorities of a registry and of its mirrors into one file")),
        }
    }

    /// Tells whether anything answers at `host` with TLS, and with a certificate that is accepted.
    pub(super) fn has_tls(&self, host: &str, settings: &Settings) -> Result<bool, CommandError> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(has_tls) = found.get(host) {
            return Ok(*has_tls);
        }
        let url = Url::parse(&format!("https://{host}/v2/")).map_err(CommandError::caused)?;
        let wire = Wire::new(settings).map_err(CommandError::caused)?;
        let asked = wire.send(Request {
            method: Method::Get,
            url,
            headers: Headers::new(),
            body: Body::Empty,
        });
        let has_tls = asked.is_ok();
        found.insert(host.to_owned(), has_tls);
        Ok(has_tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_hosts_are_meant() {
        let set = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect();
        let hosts = Hosts {
            named: set(&["named"]),
            pushed: set(&["pushed"]),
            are_pushed: false,
            are_others: true,
        };
        assert!(hosts.contain("named") && hosts.contain("any"));
        assert!(!hosts.contain("pushed"));
        let hosts = Hosts {
            are_pushed: true,
            are_others: false,
            ..hosts
        };
        assert!(hosts.contain("pushed") && !hosts.contain("any"));
    }

    #[test]
    fn the_certificate_of_a_registry_and_its_mirrors_is_one() {
        let mut reach = Reach::default();
        reach.certificates.insert("a".into(), "/a.pem".into());
        reach.certificates.insert("b".into(), "/b.pem".into());
        let check = |hosts: &[&str]| {
            let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
            reach.certificate(&hosts).map_err(|error| error.to_string())
        };
        assert_eq!(check(&["c"]).unwrap(), None);
        assert_eq!(check(&["c", "b"]).unwrap(), Some("/b.pem".into()));
        assert!(check(&["a", "b"]).unwrap_err().contains("several files"));
    }
}
