//! An object as a stream.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore};
use tokio::runtime::Runtime;

use crate::azure::Asking;
use crate::connector::Exchange;
use crate::place::Service;
use crate::{Error, Http, Place, Result, Settings, azure, gcs, s3};

/// The bytes of an object, as they come.
///
/// Where they break off they are asked for again from there, if the object is still the same. What has
/// another length than the server said in the beginning is an error in the end.
pub struct Object {
    /// How many bytes it has.
    pub size: u64,
    n_received: u64,
    chunk: Bytes,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    runtime: Runtime,
    bucket: Bucket,
}

/// A bucket, and how it is asked.
pub(crate) struct Bucket {
    pub(crate) store: Box<dyn ObjectStore>,
    pub(crate) exchange: Arc<Exchange>,
    /// The region that is asked, of S3.
    pub(crate) region: Option<String>,
    /// The object that is wanted.
    pub(crate) place: Place,
    /// Where the credentials are from, or all places where there could have been some.
    pub(crate) credentials: Credentials,
}

/// Where credentials are looked for.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    /// What is used, if anything is.
    pub(crate) used: Option<String>,
    /// Everything that was looked at.
    pub(crate) looked_in: Vec<String>,
}

/// Asks for the object at `place`.
///
/// # Errors
/// Fails if it cannot be had; no error tells a credential.
pub fn open(place: &Place, settings: &Settings, http: Arc<dyn Http>) -> Result<Object> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.map_err(|error| Error::Failed {
        place: place.to_string(),
        source: Box::new(error),
    })?;
    let bucket = match &place.service {
        Service::S3 => s3::bucket(place, settings, None, Arc::clone(&http))?,
        Service::Gcs => gcs::bucket(place, settings, Arc::clone(&http))?,
        Service::Azure { host } => {
            let asking = Asking::first(host, settings);
            azure::bucket(place, host, asking, settings, Arc::clone(&http))?
        }
    };
    let error = match bucket.get(&runtime) {
        Ok(got) => return Ok(Object::new(got, runtime, bucket)),
        Err(error) => error,
    };
    let other = match &place.service {
        // S3 says where a bucket is to who asks elsewhere.
        Service::S3 => {
            let region = bucket.exchange.seen().region.take();
            // It says so with every refusal, also of what is in the right one.
            let other = region.filter(|region| bucket.region.as_ref() != Some(region));
            other.map(|region| s3::bucket(place, settings, Some(&region), http))
        }
        Service::Gcs => None,
        Service::Azure { host } => {
            let next = Asking::first(host, settings).next(settings);
            let next = next.filter(|_| error.is_about_credentials());
            next.map(|asking| azure::bucket(place, host, asking, settings, http))
        }
    };
    let bucket = other.ok_or(error)??;
    let got = bucket.get(&runtime)?;
    Ok(Object::new(got, runtime, bucket))
}

type Got = (u64, BoxStream<'static, object_store::Result<Bytes>>);

impl Bucket {
    fn get(&self, runtime: &Runtime) -> Result<Got> {
        let path = Path::parse(&self.place.key).map_err(|error| Error::Failed {
            place: self.place.to_string(),
            source: Box::new(error),
        })?;
        let got = runtime.block_on(self.store.get_opts(&path, GetOptions::default()));
        let got = got.map_err(|error| self.error(error))?;
        Ok((got.meta.size, got.into_stream()))
    }

    /// Returns what happened, as far as it was seen: `error` may tell too much.
    fn error(&self, error: object_store::Error) -> Error {
        let place = self.place.to_string();
        let mut seen = self.exchange.seen();
        let (answer, failure) = (seen.answer.take(), seen.failure.take());
        let has_asked = seen.has_asked;
        drop(seen);
        match answer {
            answer if !has_asked => Error::NoCredentials {
                place,
                looked_in: self.credentials.looked_in.join(", "),
                source: Some(match (failure, answer) {
                    (Some(failure), _) => failure,
                    (None, Some(answer)) => answer.to_string().into(),
                    (None, None) => Box::new(error),
                }),
            },
            Some(answer) => match (answer.status, &self.credentials.used) {
                // Azure hides from nobody in particular what is there.
                (401 | 403 | 404 | 409, None) => Error::NoCredentials {
                    place,
                    looked_in: self.credentials.looked_in.join(", "),
                    source: Some(answer.to_string().into()),
                },
                (404, _) => Error::NotFound { place, answer },
                (401 | 403, Some(used)) => Error::Refused {
                    place,
                    answer,
                    credentials: used.clone(),
                },
                _ => Error::Answered { place, answer },
            },
            None => Error::Failed {
                place,
                source: failure.unwrap_or_else(|| Box::new(error)),
            },
        }
    }
}

impl Object {
    fn new((size, stream): Got, runtime: Runtime, bucket: Bucket) -> Self {
        Self {
            size,
            n_received: 0,
            chunk: Bytes::new(),
            stream,
            runtime,
            bucket,
        }
    }

    fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        let next = self.runtime.block_on(self.stream.next());
        match next {
            Some(Ok(chunk)) => {
                self.n_received += chunk.len() as u64;
                Ok(Some(chunk))
            }
            Some(Err(error)) => Err(self.bucket.error(error)),
            None => Ok(None),
        }
    }
}

impl Read for Object {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.next_chunk()? {
                Some(chunk) => self.chunk = chunk,
                None if self.n_received == self.size => return Ok(0),
                None => {
                    return Err(io::Error::from(Error::Truncated {
                        place: self.bucket.place.to_string(),
                        expected: self.size,
                        received: self.n_received,
                    }));
                }
            }
        }
        let n_read = buf.len().min(self.chunk.len());
        self.chunk
            .copy_to_slice(buf.get_mut(..n_read).unwrap_or_default());
        Ok(n_read)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("place", &self.bucket.place)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
