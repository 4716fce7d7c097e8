//! Azure Blob Storage.

use std::sync::Arc;

use object_store::azure::{AzureConfigKey as Key, MicrosoftAzureBuilder};

use crate::connector::{Connector, Exchange};
use crate::object::{Bucket, Credentials};
use crate::{Error, Http, Place, Result, Settings};

/// What says who asks for the blobs of any account: tokens are for the service, and it knows who may read.
const IDENTITY: [(&str, Key); 5] = [
    ("AZURE_CLIENT_ID", Key::ClientId),
    ("AZURE_CLIENT_SECRET", Key::ClientSecret),
    ("AZURE_TENANT_ID", Key::AuthorityId),
    ("AZURE_AUTHORITY_HOST", Key::AuthorityHost),
    ("IDENTITY_ENDPOINT", Key::MsiEndpoint),
];

/// What is of one account, and is shown to no other.
const OF_ACCOUNT: [(&str, Key); 3] = [
    ("AZURE_STORAGE_KEY", Key::AccessKey),
    ("AZURE_STORAGE_ACCESS_KEY", Key::AccessKey),
    ("AZURE_STORAGE_SAS_TOKEN", Key::SasKey),
];

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// The account, with its key or a signature by it.
    Account,
    /// Nobody: many blobs are public, those of others above all.
    Nobody,
    /// An identity of the cloud.
    Identity,
}

impl Asking {
    /// Returns who asks first for a blob on `host`: its account if there is something of that.
    pub(crate) fn first(host: &str, settings: &Settings) -> Self {
        let has_some = OF_ACCOUNT
            .iter()
            .any(|(name, _)| settings.value(name).is_some());
        if has_some && is_named(host, settings) {
            Self::Account
        } else {
            Self::Nobody
        }
    }

    /// Returns who asks for what is refused, if there is somebody else.
    pub(crate) fn next(self, settings: &Settings) -> Option<Self> {
        let is_somebody = settings.first(&["AZURE_CLIENT_ID", "IDENTITY_ENDPOINT"]);
        (self == Self::Nobody && is_somebody.is_some()).then_some(Self::Identity)
    }
}

/// Returns the container of `place` on `host`.
pub(crate) fn bucket(
    place: &Place,
    host: &str,
    asking: Asking,
    settings: &Settings,
    http: Arc<dyn Http>,
) -> Result<Bucket> {
    let endpoint = match settings.value("AZURE_STORAGE_SERVICE_ENDPOINT") {
        Some(endpoint) if is_named(host, settings) => endpoint.trim_end_matches('/').to_owned(),
        _ => format!("https://{host}"),
    };
    let secret = settings.value("IDENTITY_HEADER");
    let exchange = Exchange::with_identity(http, &endpoint, secret);
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account(host))
        .with_container_name(&place.bucket)
        .with_endpoint(endpoint)
        .with_skip_signature(asking == Asking::Nobody)
        .with_retry(settings.retry_config())
        .with_http_connector(Connector(Arc::clone(&exchange)));
    let handed_on: &[_] = match asking {
        Asking::Account => &OF_ACCOUNT,
        Asking::Nobody => &[],
        Asking::Identity => &IDENTITY,
    };
    for (name, key) in handed_on {
        if let Some(value) = settings.value(name) {
            builder = builder.with_config(*key, value);
        }
    }
    if asking == Asking::Identity
        && let Some(file) = settings.value("AZURE_FEDERATED_TOKEN_FILE")
    {
        builder = builder.with_config(Key::FederatedTokenFile, file);
    }
    let credentials = credentials(host, asking, settings);
    let store = builder.build().map_err(|error| Error::Setting {
        name: match &credentials.used {
            Some(used) => used.trim_start_matches('$').to_owned(),
            None => "AZURE_STORAGE_SERVICE_ENDPOINT".to_owned(),
        },
        reason: error.to_string(),
    })?;
    Ok(Bucket {
        store: Box::new(store),
        exchange,
        region: None,
        place: place.clone(),
        credentials,
    })
}

fn credentials(host: &str, asking: Asking, settings: &Settings) -> Credentials {
    let of_account = settings.looked_in(&[
        "AZURE_STORAGE_ACCESS_KEY",
        "AZURE_STORAGE_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
    ]);
    let of_identity = settings.looked_in(&["AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_SECRET"]);
    let set = |names: &[String]| {
        let set = names.iter().find_map(|one| one.strip_suffix(" (set)"));
        set.map(str::to_owned)
    };
    let instance = || "the instance's identity".to_owned();
    let used = match asking {
        Asking::Account => set(&of_account),
        Asking::Nobody => None,
        Asking::Identity => Some(set(&of_identity).unwrap_or_else(instance)),
    };
    let mut looked_in = of_account;
    if !is_named(host, settings) {
        let own = account(host);
        let named = settings.value("AZURE_STORAGE_ACCOUNT").unwrap_or("unset");
        looked_in.push(format!(
            "$AZURE_STORAGE_ACCOUNT ({named}; those are only used if it is {own})"
        ));
    }
    looked_in.extend(of_identity);
    if asking == Asking::Identity {
        looked_in.push(instance());
    } else {
        looked_in.extend(settings.looked_in(&["AZURE_CLIENT_ID", "IDENTITY_ENDPOINT"]));
    }
    Credentials { used, looked_in }
}

/// Returns the account that has `host`.
pub(crate) fn account(host: &str) -> &str {
    host.split('.').next().unwrap_or_default()
}

/// Tells whether settings that are for one account are for that of `host`.
fn is_named(host: &str, settings: &Settings) -> bool {
    settings.value("AZURE_STORAGE_ACCOUNT") == Some(account(host))
}
