//! Google Cloud Storage.

mod instance;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder, GoogleConfigKey};

use crate::connector::{Connector, Exchange};
use crate::object::{Bucket, Credentials};
use crate::{Error, Http, Place, Result, Settings};
use instance::Instance;

/// What signs in where nothing else says it, below the home.
const USUAL_FILE: &str = ".config/gcloud/application_default_credentials.json";

/// Returns the bucket of `place`.
pub(crate) fn bucket(place: &Place, settings: &Settings, http: Arc<dyn Http>) -> Result<Bucket> {
    let emulator = settings.value("STORAGE_EMULATOR_HOST");
    let base = match emulator {
        Some(host) if host.contains("://") => host.trim_end_matches('/').to_owned(),
        Some(host) => format!("http://{host}"),
        None => "https://storage.googleapis.com".to_owned(),
    };
    let exchange = Exchange::new(http, &base);
    let builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&place.bucket)
        .with_base_url(&base)
        .with_retry(settings.retry_config())
        .with_http_connector(Connector(Arc::clone(&exchange)));
    let file = credentials_file(settings);
    let (builder, used) = match (emulator, &file) {
        (Some(_), _) => {
            let nobody = StaticCredentialProvider::new(GcpCredential {
                bearer: String::new(),
            });
            let builder = builder
                .with_credentials(Arc::new(nobody))
                .with_config(GoogleConfigKey::SkipSignature, "true");
            (builder, "nothing, as for an emulator".to_owned())
        }
        (None, Some(file)) => {
            check_readable(file)?;
            let builder = builder.with_application_credentials(file.to_string_lossy());
            (builder, format!("`{}`", file.display()))
        }
        (None, None) => {
            let host = settings.first(&["GCE_METADATA_HOST", "GCE_METADATA_ROOT"]);
            let instance = Instance::new(Arc::clone(&exchange), host);
            let builder = builder.with_credentials(Arc::new(instance));
            (builder, "the instance's metadata".to_owned())
        }
    };
    let mut looked_in = settings.looked_in(&["GOOGLE_APPLICATION_CREDENTIALS"]);
    looked_in.push(format!("`~/{USUAL_FILE}`"));
    looked_in.push("the instance's metadata".to_owned());
    let store = builder.build().map_err(|error| match &file {
        Some(file) => Error::Setting {
            name: file.display().to_string(),
            reason: reason(&error),
        },
        None => Error::Failed {
            place: place.to_string(),
            source: Box::new(error),
        },
    })?;
    Ok(Bucket {
        store: Box::new(store),
        exchange,
        region: None,
        place: place.clone(),
        credentials: Credentials {
            used: Some(used),
            looked_in,
        },
    })
}

fn credentials_file(settings: &Settings) -> Option<PathBuf> {
    let given = settings
        .value("GOOGLE_APPLICATION_CREDENTIALS")
        .map(PathBuf::from);
    let usual = || settings.below_home(USUAL_FILE).filter(|path| path.exists());
    given.or_else(usual)
}

fn check_readable(path: &Path) -> Result<()> {
    let opened = std::fs::File::open(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    });
    opened.map(drop)
}

/// Returns the innermost error, which says what is wrong with the file.
fn reason(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
