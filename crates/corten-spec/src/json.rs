//! JSON as considerations.md asks for it: I-JSON (RFC 7493), without duplicate names.
//!
//! Parsers differ in which of two equal names wins, so a document with both could mean one thing
//! to who checks it and another to who uses it (CNS-07). Such documents are refused whole.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::{Error, Result};

/// Parses `bytes` as a `T`; `document` names it in errors.
///
/// Refuses duplicate names at any depth, a byte order mark, text that is not UTF-8, anything after
/// the value, and more than 128 levels of nesting.
pub fn parse<T: DeserializeOwned>(document: &'static str, bytes: &[u8]) -> Result<T> {
    let invalid = |error: serde_json::Error| Error::InvalidJson {
        document,
        reason: crate::digest::shorten(&error.to_string()),
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    UniqueNames.deserialize(&mut reader).map_err(invalid)?;
    reader.end().map_err(invalid)?;
    serde_json::from_slice(bytes).map_err(invalid)
}

/// Reads `null` as the default: image configs may hold `null` for any optional field (CFG-08).
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a `T` from a JSON object, and from nothing else.
///
/// What serde derives for a struct takes an array of its fields, too, which no other program takes
/// for the same document (LAY-04, MAN-01, MAN-11).
pub(crate) struct Object<T>(pub(crate) PhantomData<T>);

/// Makes the derived implementations of a type, which `#[serde(remote = "Self")]` makes functions
/// of its own, traits again, so that only JSON objects are read.
macro_rules! only_objects {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> std::result::Result<Self, D::Error> {
                deserializer.deserialize_map($crate::json::Object(std::marker::PhantomData::<Self>))
            }
        }

        impl<'de> serde::de::Visitor<'de> for $crate::json::Object<$name> {
            type Value = $name;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                fields: A,
            ) -> std::result::Result<$name, A::Error> {
                <$name>::deserialize(serde::de::value::MapAccessDeserializer::new(fields))
            }
        }
    };
}
pub(crate) use only_objects;

/// Walks a value and keeps nothing of it but the names of the objects being read.
struct UniqueNames;

impl<'de> DeserializeSeed<'de> for UniqueNames {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueNames {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<(), A::Error> {
        while items.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> std::result::Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            fields.next_value_seed(Self)?;
            if let Some(twice) = names.replace(name) {
                return Err(A::Error::custom(format!(
                    "the name `{twice}` occurs twice in one object"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_i_json() {
        #[track_caller]
        fn check(bytes: &[u8], part: &str) {
            let error = parse::<serde_json::Value>("manifest", bytes)
                .unwrap_err()
                .to_string();
            assert!(error.contains(part), "{bytes:?}: {error}");
        }
        check(br#"{"a":1,"a":2}"#, "`a` occurs twice");
        check(
            br#"{"x":[{"digest":"a","digest":"b"}]}"#,
            "`digest` occurs twice",
        );
        check(br#"{"a":1,"\u0061":2}"#, "`a` occurs twice");
        check(b"\xef\xbb\xbf{}", "expected value");
        check(b"{\"a\":\"\xe9\"}", "invalid");
        check(b"\xff\xfe{\0}\0", "expected value");
        check(b"{} {}", "trailing characters");
        check(b"{\"a\":", "EOF");
        check(b"", "EOF");
        check(br#"{"a":"\ud800"}"#, "hex escape");
        check(br#"{"a":"\udc00"}"#, "hex escape");
        check(br#"{"a":1e400}"#, "out of range");
        check(b"{'a':1}", "key must be a string");
        check(b"{\"a\":01}", "invalid number");
        check(b"{\"a\":1,}", "trailing comma");
        check("[".repeat(10_000).as_bytes(), "recursion limit");
    }
}
