//! Objects of S3, Google Cloud Storage and Azure Blob Storage, read as streams.
//!
//! An object is named by a [`Place`], found with the [`Settings`] that the providers' own programs take,
//! and fetched by whoever speaks HTTP for us, [`Http`]: this crate has no sockets, no TLS, and reads no
//! environment.
//!
//! ```no_run
//! use std::io::Read as _;
//! use std::sync::Arc;
//!
//! use corten_objects::{Http, Place, Settings, open};
//!
//! fn first_byte(http: Arc<dyn Http>) -> Result<u8, Box<dyn std::error::Error>> {
//!     let place = Place::parse("s3://builds/context.tar.gz")?.ok_or("it names no object")?;
//!     let variables = [("AWS_REGION".to_owned(), "eu-central-1".to_owned())];
//!     let mut object = open(&place, &Settings::new(variables, None), http)?;
//!     let mut byte = [0];
//!     object.read_exact(&mut byte)?;
//!     Ok(byte[0])
//! }
//! ```

mod azure;
mod connector;
mod error;
mod gcs;
mod http;
mod object;
mod place;
mod profile;
mod s3;
mod sent;
mod settings;

pub use error::{Answer, Error, Result};
pub use http::{Failure, Http, HttpAnswer, HttpRequest, Patience};
pub use object::{Object, open};
pub use place::{Place, Service};
pub use settings::{Retries, Settings, VARIABLES};
