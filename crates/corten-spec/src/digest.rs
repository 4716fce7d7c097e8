//! Digests: the names of content (descriptor.md#digests).

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};
use ring::digest::{Context, SHA256, SHA512};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The hash of stored bytes with its algorithm: `sha256:…`.
///
/// Unknown algorithms are kept as they are (DSC-15); only verifying them fails. A value of this
/// type is always well-formed, so `algorithm/encoded` may be used as a path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    text: Box<str>,
    colon: usize,
}

/// The algorithms that content can be verified with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// SHA-256, what everything of ours is named by.
    Sha256,
    /// SHA-512.
    Sha512,
    /// BLAKE3, with an output of 256 bits (DSC-20).
    Blake3,
}

/// Computes a digest over bytes that arrive in pieces.
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    state: State,
}

#[derive(Clone)]
enum State {
    Sha(Box<Context>),
    Blake3(Box<blake3::Hasher>),
}

impl Digest {
    /// Returns the SHA-256 digest of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Returns the digest that `text` is, if its algorithm is known.
    ///
    /// For texts that may also be names: `debian:12` has the form of a digest, too.
    pub fn known(text: &str) -> Option<Self> {
        text.parse()
            .ok()
            .filter(|digest: &Self| digest.algorithm().is_some())
    }

    /// Returns the algorithm, or `None` if it is one we cannot compute.
    pub fn algorithm(&self) -> Option<Algorithm> {
        Algorithm::named(self.algorithm_name())
    }

    /// Returns the algorithm's name, such as `sha256`.
    pub fn algorithm_name(&self) -> &str {
        self.text.split_at(self.colon).0
    }

    /// Returns the encoded part, after the colon.
    pub fn encoded(&self) -> &str {
        self.text.split_at(self.colon + 1).1
    }

    /// Returns the whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns a hasher of this digest's algorithm.
    pub fn hasher(&self) -> Result<Hasher> {
        let algorithm = self.algorithm();
        algorithm
            .map(Hasher::new)
            .ok_or_else(|| Error::UnsupportedAlgorithm {
                digest: self.clone(),
            })
    }

    /// Checks that `bytes` are what this digest names.
    pub fn verify(&self, bytes: &[u8]) -> Result<()> {
        let mut hasher = self.hasher()?;
        hasher.update(bytes);
        self.compare(&hasher.finish())
    }

    /// Checks that `received`, computed from content, is this digest.
    pub fn compare(&self, received: &Self) -> Result<()> {
        if self == received {
            return Ok(());
        }
        Err(Error::DigestMismatch {
            expected: self.clone(),
            received: received.clone(),
        })
    }
}

impl Algorithm {
    /// Returns the algorithm called `name`, if it is known.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            "blake3" => Some(Self::Blake3),
            _ => None,
        }
    }

    /// Returns the registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Blake3 => "blake3",
        }
    }

    fn hex_len(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl Hasher {
    /// Starts a hash of `algorithm`.
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha(Box::new(Context::new(&SHA256))),
            Algorithm::Sha512 => State::Sha(Box::new(Context::new(&SHA512))),
            Algorithm::Blake3 => State::Blake3(Box::default()),
        };
        Self { algorithm, state }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha(context) => context.update(bytes),
            State::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    /// Returns the digest of everything added.
    pub fn finish(self) -> Digest {
        match self.state {
            State::Sha(context) => digest_of(self.algorithm, context.finish().as_ref()),
            State::Blake3(hasher) => digest_of(self.algorithm, hasher.finalize().as_bytes()),
        }
    }
}

fn digest_of(algorithm: Algorithm, hash: &[u8]) -> Digest {
    let name = algorithm.name();
    let mut text = String::with_capacity(name.len() + 1 + hash.len() * 2);
    text.push_str(name);
    text.push(':');
    push_hex(hash, &mut text);
    Digest {
        text: text.into(),
        colon: name.len(),
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Appends the lower-case hexadecimal form of `bytes` to `text`.
pub fn push_hex(bytes: &[u8], text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |reason| Error::InvalidDigest {
            text: shorten(text),
            reason,
        };
        let (algorithm, encoded) = text
            .split_once(':')
            .ok_or_else(|| invalid("expected `algorithm:encoded`"))?;
        if !is_algorithm(algorithm) {
            return Err(invalid(
                "the algorithm is not of the form `[a-z0-9]+([+._-][a-z0-9]+)*`",
            ));
        }
        if encoded.is_empty() || !encoded.bytes().all(is_encoded_byte) {
            return Err(invalid(
                "the encoded part is not of the form `[a-zA-Z0-9=_-]+`",
            ));
        }
        // A digest becomes a file name, and file names end at 255 bytes.
        if algorithm.len() > 255 || encoded.len() > 255 {
            return Err(invalid("it is longer than a file name may be"));
        }
        if let Some(known) = Algorithm::named(algorithm) {
            let is_hex = encoded
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if encoded.len() != known.hex_len() || !is_hex {
                return Err(invalid(match known {
                    Algorithm::Sha256 => "sha256 needs 64 lower-case hexadecimal digits",
                    Algorithm::Sha512 => "sha512 needs 128 lower-case hexadecimal digits",
                    Algorithm::Blake3 => "blake3 needs 64 lower-case hexadecimal digits",
                }));
            }
        }
        Ok(Self {
            text: text.into(),
            colon: algorithm.len(),
        })
    }
}

/// Cuts a hostile text down to what an error message can carry.
pub(crate) fn shorten(text: &str) -> String {
    const LIMIT: usize = 200;
    if text.chars().count() <= LIMIT {
        return text.to_owned();
    }
    text.chars().take(LIMIT).chain(['…']).collect()
}

fn is_algorithm(text: &str) -> bool {
    !text.is_empty()
        && text.split(['+', '.', '_', '-']).all(|component| {
            !component.is_empty()
                && component
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
}

fn is_encoded_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'_' | b'-')
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        #[track_caller]
        fn check(text: &str, valid: bool) {
            assert_eq!(text.parse::<Digest>().is_ok(), valid, "{text:?}");
        }
        let hex = "a".repeat(64);
        check(&format!("sha256:{hex}"), true);
        check(&format!("sha256:{}", hex.to_uppercase()), false);
        check(&format!("sha256:{hex}a"), false);
        check(&format!("sha256:{}", "a".repeat(63)), false);
        check(&format!("sha512:{}", "0".repeat(128)), true);
        check(&format!("sha512:{hex}"), false);
        check(&format!("sha512:{}", "A".repeat(128)), false);
        check(&format!("blake3:{hex}"), true);
        check(&format!("blake3:{}", hex.to_uppercase()), false);
        check(&format!("blake3:{hex}{hex}"), false);
        check(
            "sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564",
            true,
        );
        check("sha256+foo+-b:abc", false);
        check("foo+bar:x", true);
        check("foo:", false);
        check(":x", false);
        check("foo", false);
        check("foo:../../etc/passwd", false);
        check("../x:abc", false);
        check("", false);
        check("sha256:", false);
        check(&format!("foo:{}", "a".repeat(256)), false);
    }

    #[test]
    fn known_vectors() {
        #[track_caller]
        fn check(digest: &str, bytes: &[u8]) {
            let digest: Digest = digest.parse().unwrap();
            digest.verify(bytes).unwrap();
            for chunk in [1, 3, 64] {
                let mut hasher = digest.hasher().unwrap();
                bytes.chunks(chunk).for_each(|piece| hasher.update(piece));
                assert_eq!(hasher.finish(), digest, "{bytes:?} by {chunk}");
            }
            assert!(digest.verify(b"something else").unwrap_err().is_mismatch());
        }
        check(
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            b"{}",
        );
        check(
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            b"",
        );
        check(
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            b"abc",
        );
        check(
            "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
            b"",
        );
        check(
            "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
            b"abc",
        );
    }

    #[test]
    fn a_name_is_no_known_digest() {
        assert_eq!(Digest::known("debian:12"), None);
        assert_eq!(Digest::known("debian"), None);
        let digest = Digest::sha256(b"");
        assert_eq!(Digest::known(digest.as_str()), Some(digest));
    }

    #[test]
    fn an_unknown_algorithm_is_kept_but_cannot_be_verified() {
        let digest: Digest = "foo+bar:x".parse().unwrap();
        assert_eq!(digest.algorithm_name(), "foo+bar");
        assert_eq!(digest.encoded(), "x");
        assert!(matches!(
            digest.verify(b"x"),
            Err(Error::UnsupportedAlgorithm { .. })
        ));
    }
}
