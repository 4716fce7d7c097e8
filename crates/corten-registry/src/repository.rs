//! A repository of a registry: where its endpoints are, and what is asked of them.

use std::sync::Arc;

use corten_content::Error as ContentError;
use corten_spec::{Bound, DocumentLimits, Reference};

use crate::auth::Realm;
use crate::client::{Call, Client};
use crate::kept::Kept;
use crate::rules::Asked;
use crate::transport::{Body, Headers, Method};
use crate::{Error, Result, Url, token};

/// Returns the bound on manifests that are read or written.
pub(crate) fn longest_manifest() -> Bound {
    DocumentLimits::installed().either()
}

/// Every type that we can read, so that registries do not convert (DST-05).
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, */*;q=0.5";

/// A repository: a source to pull from, a sink to push to. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(crate) client: Client,
    pub(crate) name: String,
    pub(crate) origin: Endpoint,
    pub(crate) mirrors: Vec<Endpoint>,
    pub(crate) kept: Arc<Kept>,
}

/// A repository as one host has it.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// `https://host/v2/repository`.
    base: Url,
    /// What users call the host.
    pub(crate) host: String,
    pub(crate) repository: String,
    /// The registry that this mirror is asked on behalf of.
    namespace: Option<String>,
    /// What this mirror is asked for.
    pub(crate) asked: Asked,
}

impl Endpoint {
    /// Returns the URL of `tail`, such as `tags/list`, in the repository.
    pub(crate) fn url(&self, tail: &str) -> Url {
        let url = self.base.below(tail);
        match &self.namespace {
            Some(namespace) => url.with("ns", namespace),
            None => url,
        }
    }

    /// Returns a call without headers and body, for a token that allows `actions`.
    pub(crate) fn call(&self, method: Method, url: Url, actions: &str) -> Call {
        Call {
            method,
            url,
            headers: Headers::new(),
            body: Body::Empty,
            realm: Realm {
                host: self.host.clone(),
                repository: self.repository.clone(),
                scopes: vec![token::scope(&self.repository, actions)],
                home: self.base.clone(),
            },
        }
    }

    /// Returns a call that only reads.
    pub(crate) fn pull(&self, method: Method, tail: &str) -> Call {
        self.call(method, self.url(tail), "pull")
    }

    /// Returns a call that writes to `url`.
    pub(crate) fn push(&self, method: Method, url: Url) -> Call {
        self.call(method, url, "pull,push")
    }
}

impl Repository {
    /// Returns the repository that `reference` names; its tag and digest are ignored. Sends
    /// nothing.
    ///
    /// # Errors
    /// Fails if the settings name a mirror that is no URL, or block the repository.
    pub fn new(client: &Client, reference: &Reference) -> Result<Self> {
        let settings = client.settings();
        let endpoint = |root: &Url, host: &str, repository: String| Endpoint {
            base: root.below(&repository),
            host: host.to_owned(),
            repository,
            namespace: None,
            asked: Asked::All,
        };
        let (registry, repository) = (reference.registry(), reference.repository());
        let mut mirrors = Vec::new();
        for mirror in settings
            .mirrors
            .iter()
            .filter(|mirror| mirror.of == registry)
        {
            let (root, host) = mirror.base(settings)?;
            let there = match mirror.prefix.as_str() {
                "" => repository.to_owned(),
                prefix => format!("{prefix}/{repository}"),
            };
            mirrors.push(endpoint(&root, &host, there));
        }
        let name = reference.name();
        let rule = settings.rules.about(&name);
        if let Some(rule) = rule.filter(|rule| rule.blocked) {
            return Err(Error::Blocked {
                name,
                prefix: rule.prefix.clone(),
            });
        }
        let elsewhere = |place: &str| -> Result<Endpoint> {
            let (host, repository) = place.split_once('/').ok_or_else(|| Error::InvalidUrl {
                url: place.to_owned(),
                reason: "the configuration of registries leaves it without a repository",
            })?;
            Ok(endpoint(&settings.base(host)?, host, repository.to_owned()))
        };
        for (rule, mirror) in rule.iter().flat_map(|rule| {
            let mirrors = rule.mirrors.iter();
            mirrors.map(move |mirror| (rule, mirror))
        }) {
            mirrors.push(Endpoint {
                asked: mirror.asked,
                ..elsewhere(&rule.at(&mirror.location, &name))?
            });
        }
        for mirror in &mut mirrors {
            mirror.namespace = Some(registry.to_owned());
        }
        let origin = match rule {
            Some(rule) => elsewhere(&rule.at(&rule.location, &name))?,
            None => endpoint(&settings.base(registry)?, registry, repository.to_owned()),
        };
        Ok(Self {
            client: client.clone(),
            name,
            origin,
            mirrors,
            kept: Arc::default(),
        })
    }

    pub(crate) fn error(&self, error: Error, name: &str) -> ContentError {
        error.into_content(&self.name, name)
    }

    /// Returns the error of a request that writes. What a registry does not find then is no
    /// content that is missing, but the repository, or an upload.
    pub(crate) fn write_error(&self, error: Error) -> ContentError {
        match error {
            Error::Cancelled => ContentError::Cancelled,
            error => ContentError::Place {
                place: self.name.clone(),
                source: Box::new(error),
            },
        }
    }
}
