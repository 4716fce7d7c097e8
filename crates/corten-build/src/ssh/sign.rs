//! Signing: by the library that TLS is done with anyway.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
    RsaKeyPair, RsaPublicKeyComponents,
};

use super::wire::Writing;

/// A key that signs.
pub(super) enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(Curve, EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// A curve of ECDSA.
#[derive(Debug, Clone, Copy)]
pub(super) enum Curve {
    P256,
    P384,
}

impl Curve {
    pub(super) fn algorithm(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        }
    }

    /// Returns how many bytes a number of the curve has.
    pub(super) fn length(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::P256 => "nistp256",
            Self::P384 => "nistp384",
        }
    }

    fn algorithm_name(self) -> &'static str {
        match self {
            Self::P256 => "ecdsa-sha2-nistp256",
            Self::P384 => "ecdsa-sha2-nistp384",
        }
    }
}

/// Flags of a request (draft-ietf-sshm-ssh-agent, 3.6.1).
const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;

impl Pair {
    /// Returns the public key as SSH writes it (RFC 4253, 6.6; RFC 5656, 3.1; RFC 8709, 4).
    pub(super) fn blob(&self) -> Vec<u8> {
        let mut blob = Writing(Vec::new());
        match self {
            Self::Ed25519(pair) => {
                blob.string(b"ssh-ed25519");
                blob.string(pair.public_key().as_ref());
            }
            Self::Ecdsa(curve, pair) => {
                blob.string(curve.algorithm_name().as_bytes());
                blob.string(curve.name().as_bytes());
                blob.string(pair.public_key().as_ref());
            }
            Self::Rsa(pair) => {
                let parts: RsaPublicKeyComponents<Vec<u8>> = pair.public_key().into();
                blob.string(b"ssh-rsa");
                blob.mpint(&parts.e);
                blob.mpint(&parts.n);
            }
        }
        blob.0
    }

    /// Signs `data`, and returns the name of the algorithm with the signature; `None` if `flags` ask for
    /// SHA-1, which servers refuse, or if there is no randomness.
    pub(super) fn sign(&self, data: &[u8], flags: u32) -> Option<(&'static str, Vec<u8>)> {
        let random = SystemRandom::new();
        match self {
            Self::Ed25519(pair) => Some(("ssh-ed25519", pair.sign(data).as_ref().to_vec())),
            Self::Ecdsa(curve, pair) => {
                let signed = pair.sign(&random, data).ok()?;
                let signed = signed.as_ref();
                let (r, s) = signed.split_at_checked(signed.len() / 2)?;
                let mut signature = Writing(Vec::new());
                signature.mpint(r);
                signature.mpint(s);
                Some((curve.algorithm_name(), signature.0))
            }
            Self::Rsa(pair) => {
                let (name, encoding) = if flags & RSA_SHA2_256 != 0 {
                    ("rsa-sha2-256", &RSA_PKCS1_SHA256)
                } else if flags & RSA_SHA2_512 != 0 {
                    ("rsa-sha2-512", &RSA_PKCS1_SHA512)
                } else {
                    return None;
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &random, data, &mut signature).ok()?;
                Some((name, signature))
            }
        }
    }
}
