//! Documents: a parsed view with the bytes that it is a view of.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::{Bound, Descriptor, Error, Result, json};

/// A document as it was received, and a view of it.
///
/// The bytes are what is stored and sent on; the view is for reading only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<T> {
    /// The name of `bytes`.
    pub descriptor: Descriptor,
    /// What was received, and what is sent on.
    pub bytes: Vec<u8>,
    /// A view of `bytes`, for reading only.
    pub value: T,
}

/// A type that can be the view of a [`Document`].
pub trait DocumentType: DeserializeOwned {
    /// What errors call it.
    const NAME: &'static str;

    /// Fields of other document types. Where one of them is, readers could differ in which type the
    /// document is, so it is refused (CVE-2021-41190).
    const FOREIGN_FIELDS: &'static [&'static str] = &[];

    /// Returns the largest size that is read (CNS-09).
    fn limit() -> Bound;

    /// Checks the rules that the shape of the JSON does not show, given the descriptor's type.
    fn check(&self, media_type: &str) -> Result<()>;
}

impl<T: DocumentType> Document<T> {
    /// Returns `bytes` as the document that `descriptor` names.
    ///
    /// Checks size and digest before it parses anything (DSC-17).
    pub fn verify(descriptor: Descriptor, bytes: Vec<u8>) -> Result<Self> {
        check_limit::<T>(descriptor.size)?;
        descriptor.verify(&bytes)?;
        Self::trusted(descriptor, bytes)
    }

    /// Returns `bytes` as a document named by their own digest.
    pub fn from_bytes(media_type: &str, bytes: Vec<u8>) -> Result<Self> {
        check_limit::<T>(bytes.len() as u64)?;
        Self::trusted(Descriptor::of(media_type, &bytes), bytes)
    }

    fn trusted(descriptor: Descriptor, bytes: Vec<u8>) -> Result<Self> {
        if descriptor.kind() == crate::Kind::Schema1 {
            return Err(Error::Schema1 {
                media_type: descriptor.media_type,
            });
        }
        let value: T = json::parse(T::NAME, &bytes)?;
        check_fields::<T>(&bytes)?;
        value.check(&descriptor.media_type)?;
        Ok(Self {
            descriptor,
            bytes,
            value,
        })
    }
}

fn check_fields<T: DocumentType>(bytes: &[u8]) -> Result<()> {
    if T::FOREIGN_FIELDS.is_empty() {
        return Ok(());
    }
    let fields: BTreeMap<String, &RawValue> =
        serde_json::from_slice(bytes).map_err(|error| Error::InvalidJson {
            document: T::NAME,
            reason: crate::digest::shorten(&error.to_string()),
        })?;
    let is_there = |field: &&&str| fields.contains_key(**field);
    match T::FOREIGN_FIELDS.iter().find(is_there) {
        None => Ok(()),
        Some(field) => Err(Error::InvalidDocument {
            document: T::NAME,
            reason: format!("it has `{field}`, which is a field of another kind of document"),
        }),
    }
}

/// Checks `size` against the limit of the document type `T`.
pub fn check_limit<T: DocumentType>(size: u64) -> Result<()> {
    let limit = T::limit();
    if size <= limit.bytes {
        return Ok(());
    }
    Err(Error::TooLarge {
        document: T::NAME,
        size,
        limit,
    })
}

/// Serialises a document that we made ourselves: compact, fields in the order of its type.
pub fn to_bytes<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value)
        .expect("our document types have string keys and no failing serializer")
}
