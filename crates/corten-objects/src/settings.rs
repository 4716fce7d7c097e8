//! What the providers' own programs take from the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use object_store::{BackoffConfig, RetryConfig};

use crate::azure;
use crate::place::{Place, Service};

/// The environment variables that [`Settings`] heed.
pub const VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_PROFILE",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_SERVICE_ENDPOINT",
    "AZURE_TENANT_ID",
    "GCE_METADATA_HOST",
    "GCE_METADATA_ROOT",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "S3_ENDPOINT",
    "S3_FORCE_PATH_STYLE",
    "STORAGE_EMULATOR_HOST",
];

/// What says where objects are, and who asks for them.
#[derive(Clone, Default)]
pub struct Settings {
    variables: BTreeMap<String, String>,
    home: Option<PathBuf>,
    /// How often what fails is tried again.
    pub retries: Retries,
}

/// How often what fails is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// So many times for each object, to begin as to go on where it broke off.
    pub limit: usize,
    /// How long to wait before the first.
    pub pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            limit: 5,
            pause: Duration::from_millis(200),
        }
    }
}

impl Settings {
    /// Returns the settings that `variables` of the environment make, of which [`VARIABLES`] count; an
    /// empty one counts as unset. Below `home` are the files of AWS's programs.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>, home: Option<&Path>) -> Self {
        let variables = variables.into_iter();
        Self {
            variables: variables.filter(|(_, value)| !value.is_empty()).collect(),
            home: home.map(Path::to_owned),
            retries: Retries::default(),
        }
    }

    /// Takes keys and signatures of Azure for those of the account of `place`, if it is of one and no
    /// variable names another: for programs that have no other object than this.
    #[must_use]
    pub fn for_account_of(mut self, place: &Place) -> Self {
        if let Service::Azure { host } = &place.service {
            let account = azure::account(host).to_owned();
            let name = "AZURE_STORAGE_ACCOUNT".to_owned();
            self.variables.entry(name).or_insert(account);
        }
        self
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        debug_assert!(VARIABLES.contains(&name), "{name} is no variable of ours");
        self.variables.get(name).map(String::as_str)
    }

    /// Returns the first of several variables that is set.
    pub(crate) fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.value(name))
    }

    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.value(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(crate) fn below_home(&self, path: &str) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join(path))
    }

    /// Says of each variable whether it is set.
    pub(crate) fn looked_in(&self, names: &[&str]) -> Vec<String> {
        let say = |name: &&str| {
            let state = if self.value(name).is_some() {
                "set"
            } else {
                "unset"
            };
            format!("${name} ({state})")
        };
        names.iter().map(say).collect()
    }

    pub(crate) fn retry_config(&self) -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: self.retries.pause,
                max_backoff: Duration::from_secs(10),
                base: 2.,
            },
            max_retries: self.retries.limit,
            // It counts from the beginning of the transfer, which may take long and break off late.
            retry_timeout: Duration::from_hours(24),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets.
        f.debug_struct("Settings")
            .field("variables", &self.variables.keys())
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}
