//! The identity of the instance that the program runs on, as Google's libraries find it.
//!
//! That of `object_store` asks the environment where the service is, which is for the caller to say.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use http::Request;
use object_store::CredentialProvider;
use object_store::client::HttpRequestBody;
use object_store::gcp::GcpCredential;
use serde::Deserialize;

use crate::connector::Exchange;

/// Where the service is, and where it is asked for if there is no such name.
const USUAL: [&str; 2] = ["metadata.google.internal", "169.254.169.254"];
const PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token?audience=\
                    https://www.googleapis.com/oauth2/v4/token";

/// Asks the instance's metadata for a token, once: it is good for longer than one object takes.
#[derive(Debug)]
pub(super) struct Instance {
    exchange: Arc<Exchange>,
    /// Where the service is, one after the other.
    hosts: Vec<String>,
    found: Mutex<Option<Arc<GcpCredential>>>,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

impl Instance {
    /// Returns what asks on `host`, or where it usually is.
    pub(super) fn new(exchange: Arc<Exchange>, host: Option<&str>) -> Self {
        let hosts = match host {
            Some(host) => vec![host.to_owned()],
            None => USUAL.map(str::to_owned).to_vec(),
        };
        Self {
            exchange,
            hosts,
            found: Mutex::default(),
        }
    }

    fn known(&self) -> Option<Arc<GcpCredential>> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.clone()
    }

    fn keep(&self, credential: GcpCredential) -> Arc<GcpCredential> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(found.insert(Arc::new(credential)))
    }

    async fn ask(&self, host: &str) -> Result<GcpCredential, Refused> {
        let request = Request::get(format!("http://{host}{PATH}"))
            .header("Metadata-Flavor", "Google")
            .body(HttpRequestBody::empty())
            .map_err(Refused::because)?;
        let answer = self.exchange.send(request).map_err(Refused::because)?;
        if !answer.status().is_success() {
            return Err(Refused::because(format!("status {}", answer.status())));
        }
        let body = answer.into_body().bytes().await;
        let token: Token =
            serde_json::from_slice(&body.map_err(Refused::because)?).map_err(Refused::because)?;
        Ok(GcpCredential {
            bearer: token.access_token,
        })
    }
}

#[async_trait]
impl CredentialProvider for Instance {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let mut refused = Refused::because("nobody to ask");
        for host in &self.hosts {
            match self.ask(host).await {
                Ok(credential) => return Ok(self.keep(credential)),
                Err(error) => refused = error,
            }
        }
        Err(object_store::Error::Generic {
            store: "GCS",
            source: Box::new(refused),
        })
    }
}

/// The instance has no token for us.
#[derive(Debug, thiserror::Error)]
#[error("the instance's metadata has no token")]
struct Refused(#[source] Box<dyn std::error::Error + Send + Sync>);

impl Refused {
    fn because(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(reason.into())
    }
}
