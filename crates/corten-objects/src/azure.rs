//! Azure Blob Storage.

use std::sync::Arc;

use object_store::azure::{AzureConfigKey as Key, MicrosoftAzureBuilder};

use crate::connector::{Connector, Exchange};
use crate::object::{Bucket, Credentials};
use crate::s3::authority;
use crate::{Error, Http, Place, Result, Settings};

/// The settings that are handed on as they are.
const HANDED_ON: [(&str, Key); 8] = [
    ("AZURE_STORAGE_KEY", Key::AccessKey),
    ("AZURE_STORAGE_ACCESS_KEY", Key::AccessKey),
    ("AZURE_STORAGE_SAS_TOKEN", Key::SasKey),
    ("AZURE_CLIENT_ID", Key::ClientId),
    ("AZURE_CLIENT_SECRET", Key::ClientSecret),
    ("AZURE_TENANT_ID", Key::AuthorityId),
    ("AZURE_AUTHORITY_HOST", Key::AuthorityHost),
    ("IDENTITY_ENDPOINT", Key::MsiEndpoint),
];

/// Returns the container of `place` on `host`.
pub(crate) fn bucket(
    place: &Place,
    host: &str,
    settings: &Settings,
    http: Arc<dyn Http>,
) -> Result<Bucket> {
    let own = host.split('.').next().unwrap_or_default();
    let account = settings.value("AZURE_STORAGE_ACCOUNT").unwrap_or(own);
    if account != own {
        return Err(Error::Setting {
            name: "AZURE_STORAGE_ACCOUNT".to_owned(),
            reason: format!("it is `{account}`, and `{place}` is of the account `{own}`"),
        });
    }
    let endpoint = match settings.value("AZURE_STORAGE_SERVICE_ENDPOINT") {
        Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
        None => format!("https://{host}"),
    };
    let exchange = Exchange::new(http, authority(&endpoint).to_owned());
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(&place.bucket)
        .with_endpoint(endpoint)
        .with_retry(settings.retry_config())
        .with_http_connector(Connector(Arc::clone(&exchange)));
    for (name, key) in HANDED_ON {
        if let Some(value) = settings.value(name) {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(file) = settings.value("AZURE_FEDERATED_TOKEN_FILE") {
        builder = builder.with_config(Key::FederatedTokenFile, file);
    }
    let mut looked_in = settings.looked_in(&[
        "AZURE_STORAGE_ACCESS_KEY",
        "AZURE_STORAGE_KEY",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_CLIENT_SECRET",
        "AZURE_STORAGE_SAS_TOKEN",
    ]);
    let set = looked_in.iter().find_map(|one| one.strip_suffix(" (set)"));
    let used = set.unwrap_or("the instance's identity").to_owned();
    looked_in.push("the instance's identity".to_owned());
    let store = builder.build().map_err(|error| Error::Setting {
        name: used.trim_start_matches('$').to_owned(),
        reason: error.to_string(),
    })?;
    Ok(Bucket {
        store: Box::new(store),
        exchange,
        place: place.clone(),
        credentials: Credentials { used, looked_in },
    })
}
