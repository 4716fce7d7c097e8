//! Files of private keys: those of OpenSSH, PKCS#8, and PKCS#1 for RSA.
//!
//! What is copied of a key is wiped when it is not needed any more: a build goes on for long, and runs what
//! others wrote. No such buffer grows, for what it grows out of is not wiped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use zeroize::Zeroizing;

use super::SshKey;
use super::sign::{Curve, Pair};
use super::wire::{Reading, without_zeros};
use crate::{Error, Result};

const ENCRYPTED: &str =
    "it is protected by a passphrase: add it to an agent with `ssh-add`, and pass that";
const DAMAGED: &str = "it is damaged";
const ON_A_DEVICE: &str = "it is on a device: add it to an agent with `ssh-add`, and pass that";
const OTHER_KIND: &str = "it is none of Ed25519, RSA, nistp256 and nistp384, which is signed with here: \
                          add it to an agent with `ssh-add`, and pass that";
const NO_KEY: &str = "it is no private key";
const RSA_REFUSED: &str =
    "it is damaged, or a key of RSA with less than 2048 or more than 4096 bits";

impl SshKey {
    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// It is no private key, protected by a passphrase, or of a kind that is not signed with here.
    pub fn read(file: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(file).map_err(|_| refused(NO_KEY))?;
        let begins = |name: &str| text.contains(&format!("-----BEGIN {name}-----"));
        if begins("OPENSSH PRIVATE KEY") {
            return of_openssh(text);
        }
        if begins("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(refused(ENCRYPTED));
        }
        let pair = if begins("PRIVATE KEY") {
            of_pkcs8(&pem(text, "PRIVATE KEY")?)?
        } else if begins("RSA PRIVATE KEY") {
            let der = pem(text, "RSA PRIVATE KEY")?;
            Pair::Rsa(RsaKeyPair::from_der(&der).map_err(|_| refused(RSA_REFUSED))?)
        } else if begins("EC PRIVATE KEY") {
            return Err(refused(
                "its format is an old one: `ssh-keygen -p -f FILE` writes the usual one",
            ));
        } else {
            return Err(refused(NO_KEY));
        };
        Ok(Self {
            blob: pair.blob(),
            // These formats have none.
            comment: String::new(),
            pair,
        })
    }
}

fn refused(reason: &'static str) -> Error {
    Error::SshKey { reason }
}

fn pem(text: &str, name: &str) -> Result<Zeroizing<Vec<u8>>> {
    let inside = text
        .split_once(&format!("-----BEGIN {name}-----"))
        .and_then(|(_, rest)| rest.split_once(&format!("-----END {name}-----")));
    let (inside, _) = inside.ok_or_else(|| refused(DAMAGED))?;
    let mut digits = Zeroizing::new(String::with_capacity(inside.len()));
    digits.extend(inside.split_whitespace());
    let mut bytes = Zeroizing::new(Vec::with_capacity(digits.len()));
    let decoded = STANDARD.decode_vec(digits.as_bytes(), &mut bytes);
    decoded.map_err(|_| refused(DAMAGED))?;
    Ok(bytes)
}

/// Reads the format of OpenSSH (its file PROTOCOL.key), without a passphrase.
fn of_openssh(text: &str) -> Result<SshKey> {
    let bytes = pem(text, "OPENSSH PRIVATE KEY")?;
    let damaged = || refused(DAMAGED);
    let private = private_part(&bytes).ok_or_else(damaged)?;
    let mut private = match private {
        Private::Encrypted => return Err(refused(ENCRYPTED)),
        Private::Plain(private) => Reading(private),
    };
    let kind = private.string().ok_or_else(damaged)?;
    let pair = match kind {
        b"ssh-ed25519" => of_ed25519(&mut private).ok_or_else(damaged)?,
        b"ecdsa-sha2-nistp256" => of_ecdsa(Curve::P256, &mut private).ok_or_else(damaged)?,
        b"ecdsa-sha2-nistp384" => of_ecdsa(Curve::P384, &mut private).ok_or_else(damaged)?,
        b"ssh-rsa" => of_rsa(&mut private)?,
        _ if kind.starts_with(b"sk-") => return Err(refused(ON_A_DEVICE)),
        _ => return Err(refused(OTHER_KIND)),
    };
    let comment = private.string().ok_or_else(damaged)?;
    Ok(SshKey {
        blob: pair.blob(),
        comment: String::from_utf8_lossy(comment).into_owned(),
        pair,
    })
}

enum Private<'a> {
    Plain(&'a [u8]),
    Encrypted,
}

/// Returns what is behind the two equal numbers by which a right passphrase is known.
fn private_part(bytes: &[u8]) -> Option<Private<'_>> {
    let mut reading = Reading(bytes.strip_prefix(b"openssh-key-v1\0")?);
    let (cipher, _kdf, _options) = (reading.string()?, reading.string()?, reading.string()?);
    if reading.number()? != 1 {
        return None;
    }
    let _public = reading.string()?;
    let mut private = Reading(reading.string()?);
    if cipher != b"none" {
        return Some(Private::Encrypted);
    }
    let is_right = private.number()? == private.number()?;
    is_right.then_some(Private::Plain(private.0))
}

fn of_ed25519(private: &mut Reading<'_>) -> Option<Pair> {
    let public = private.string()?;
    let (seed, _) = private.string()?.split_at_checked(32)?;
    let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public);
    pair.ok().map(Pair::Ed25519)
}

fn of_ecdsa(curve: Curve, private: &mut Reading<'_>) -> Option<Pair> {
    let (_curve, point) = (private.string()?, private.string()?);
    let digits = without_zeros(private.string()?);
    // One number in 256 is shorter than the others.
    let mut scalar = Zeroizing::new(vec![0; curve.length()]);
    let n_zeros = scalar.len().checked_sub(digits.len())?;
    scalar.get_mut(n_zeros..)?.copy_from_slice(digits);
    let random = SystemRandom::new();
    let algorithm = curve.algorithm();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &scalar, point, &random);
    pair.ok().map(|pair| Pair::Ecdsa(curve, pair))
}

fn of_rsa(private: &mut Reading<'_>) -> Result<Pair> {
    use ring::rsa::{KeyPairComponents, PublicKeyComponents};
    let mut digits = || {
        let digits = private.string().map(without_zeros);
        digits.ok_or_else(|| refused(DAMAGED))
    };
    let (n, e, secret) = (digits()?, digits()?, digits()?);
    let (inverse, first, second) = (digits()?, digits()?, digits()?);
    let (of_first, of_second) = (exponent(secret, first)?, exponent(secret, second)?);
    let parts = KeyPairComponents {
        public_key: PublicKeyComponents { n, e },
        d: secret,
        p: first,
        q: second,
        dP: &of_first,
        dQ: &of_second,
        qInv: inverse,
    };
    let pair = RsaKeyPair::from_components(&parts).map_err(|_| refused(RSA_REFUSED))?;
    Ok(Pair::Rsa(pair))
}

fn of_pkcs8(der: &[u8]) -> Result<Pair> {
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        return Ok(Pair::Ed25519(pair));
    }
    let random = SystemRandom::new();
    for curve in [Curve::P256, Curve::P384] {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(curve.algorithm(), der, &random) {
            return Ok(Pair::Ecdsa(curve, pair));
        }
    }
    let pair = RsaKeyPair::from_pkcs8(der);
    Ok(Pair::Rsa(pair.map_err(|_| {
        refused(
            "it is damaged, or none of Ed25519, RSA of 2048 to 4096 bits, nistp256 and nistp384",
        )
    })?))
}

/// Keys that are signed with have numbers of so many bytes at most; longer ones would take long.
const MOST_BYTES: usize = 1024;

/// Returns `d` mod (`prime` - 1), which files of OpenSSH leave to be computed.
fn exponent(d: &[u8], prime: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    if d.len() > MOST_BYTES || prime.len() > MOST_BYTES {
        return Err(refused(RSA_REFUSED));
    }
    // One more byte, for what is shifted out.
    let mut modulus = Zeroizing::new(vec![0; prime.len() + 1]);
    let (_, own) = modulus.split_at_mut(1);
    own.copy_from_slice(prime);
    // A prime of RSA is odd.
    if let Some(last) = own.last_mut() {
        *last &= 0xfe;
    }
    if without_zeros(&modulus).is_empty() {
        return Err(refused(DAMAGED));
    }
    let mut rest = Zeroizing::new(vec![0; modulus.len()]);
    for bit in d
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
    {
        let mut carry = bit;
        for byte in rest.iter_mut().rev() {
            (*byte, carry) = (*byte << 1 | carry, *byte >> 7);
        }
        if *rest >= *modulus {
            let mut borrow = false;
            for (byte, other) in rest.iter_mut().zip(modulus.iter()).rev() {
                let (less, first) = byte.overflowing_sub(*other);
                let (less, second) = less.overflowing_sub(u8::from(borrow));
                (*byte, borrow) = (less, first || second);
            }
        }
    }
    Ok(Zeroizing::new(without_zeros(&rest).to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_of_primes() {
        #[track_caller]
        fn check(d: u64, prime: u64) {
            let expected = d % (prime - 1);
            let found = exponent(&d.to_be_bytes(), &prime.to_be_bytes()).unwrap();
            let expected = without_zeros(&expected.to_be_bytes()).to_vec();
            assert_eq!(*found, expected, "{d} {prime}");
        }
        check(0, 3);
        check(1, 3);
        check(u64::MAX, 3);
        check(u64::MAX, 18_446_744_073_709_551_557);
        check(18_446_744_073_709_551_556, 18_446_744_073_709_551_557);
        check(123_456_789_012_345, 65537);
        assert!(exponent(&[1], &[]).is_err() && exponent(&[1], &[1]).is_err());
        assert!(exponent(&[1; 2000], &[3]).is_err());
    }
}
