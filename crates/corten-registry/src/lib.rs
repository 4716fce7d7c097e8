//! The client of the distribution protocol: a repository of a registry as a
//! [`Source`](corten_content::Source) and a [`Sink`](corten_content::Sink).
//!
//! What registries say is parsed without a socket ([`challenge`], [`token`], [`header`],
//! [`redirect`], [`retry`], [`refusal`]); [`Client`] decides; a [`Transport`] sends.
//!
//! ```
//! use std::sync::Arc;
//!
//! use corten_content::Source;
//! use corten_registry::transport::{Headers, Request, Response, Transport};
//! use corten_registry::{Client, Repository, Result, Settings};
//!
//! /// A registry that holds one empty index, under every name.
//! struct OneIndex;
//!
//! impl Transport for OneIndex {
//!     fn send(&self, _: Request) -> Result<Response> {
//!         Ok(Response {
//!             status: 200,
//!             headers: Headers::new(),
//!             body: Box::new(&br#"{"schemaVersion":2,"manifests":[]}"#[..]),
//!         })
//!     }
//! }
//!
//! let client = Client::over(Settings::default(), Arc::new(OneIndex));
//! let reference = "registry.example/acme/app:1.2".parse()?;
//! let repository = Repository::new(&client, &reference)?;
//! let index = repository.resolve("1.2")?;
//! assert_eq!(index.media_type, corten_spec::media_type::OCI_INDEX);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod auth;
mod body;
pub mod certificates;
pub mod challenge;
mod chunks;
pub mod client;
pub mod credential_files;
pub mod credentials;
pub mod delete;
pub mod error;
pub mod header;
pub mod helper;
mod kept;
pub mod list;
mod pace;
mod pull;
mod push;
pub mod redirect;
mod referrers;
pub mod refusal;
pub mod repository;
pub mod retry;
pub mod rules;
pub mod settings;
mod stream;
pub mod token;
pub mod transport;
mod upload;
pub mod url;
pub mod wire;

pub use certificates::Certificates;
pub use client::{Client, Warning};
pub use credential_files::{Candidate, CredentialFiles};
pub use credentials::{Credentials, Login, Secret};
pub use delete::Untagged;
pub use error::{Error, Result};
pub use list::Part;
pub use repository::Repository;
pub use rules::{Rule, Rules};
pub use settings::{Chunks, Mirror, Settings, Timeouts};
pub use transport::Transport;
pub use url::Url;
pub use wire::Wire;
