//! What `RUN --mount=type=ssh` leads to: a socket of an agent, or keys that were read from files.

mod file;
mod sign;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use sign::Pair;
use wire::{Reading, Writing};

/// What a command gets behind its socket. It may list keys and sign with them, and nothing else.
#[derive(Debug, Clone)]
pub enum SshAgent {
    /// An agent of the user.
    Socket(PathBuf),
    /// These keys, which are in memory alone.
    Keys(Arc<[SshKey]>),
}

/// A private key. It does not print.
pub struct SshKey {
    /// The public key (RFC 4253, 6.6).
    blob: Vec<u8>,
    comment: String,
    pair: Pair,
}

impl fmt::Debug for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Messages of the agent protocol (draft-ietf-sshm-ssh-agent, 6.1).
pub(crate) const FAILURE: u8 = 5;
pub(crate) const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
pub(crate) const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// Answers a request as an agent that has `keys`. Whatever is not understood fails, as does what is not
/// for a command.
pub(crate) fn answer(keys: &[SshKey], request: &[u8]) -> Vec<u8> {
    let answered = match request.split_first() {
        Some((&REQUEST_IDENTITIES, [])) => Some(identities(keys)),
        Some((&SIGN_REQUEST, rest)) => signature(keys, rest),
        _ => None,
    };
    answered.unwrap_or_else(|| vec![FAILURE])
}

fn identities(keys: &[SshKey]) -> Vec<u8> {
    let mut answer = Writing(vec![IDENTITIES_ANSWER]);
    answer.number(keys.len());
    for key in keys {
        answer.string(&key.blob);
        answer.string(key.comment.as_bytes());
    }
    answer.0
}

fn signature(keys: &[SshKey], request: &[u8]) -> Option<Vec<u8>> {
    let mut request = Reading(request);
    let (blob, data, flags) = (request.string()?, request.string()?, request.number()?);
    if !request.0.is_empty() {
        return None;
    }
    let key = keys.iter().find(|key| key.blob == blob)?;
    let (algorithm, signature) = key.pair.sign(data, flags)?;
    let mut inner = Writing(Vec::new());
    inner.string(algorithm.as_bytes());
    inner.string(&signature);
    let mut answer = Writing(vec![SIGN_RESPONSE]);
    answer.string(&inner.0);
    Some(answer.0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use ring::signature as verify;
    use ring::signature::UnparsedPublicKey;

    use super::*;
    use crate::Error;

    /// Makes a key with `ssh-keygen`, and returns its file.
    fn file(args: &[&str]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-C", "a comment", "-N", ""]).args(args);
        let status = command.arg("-f").arg(&path).status();
        assert!(status.expect("ssh-keygen is installed").success());
        fs::read(path).unwrap()
    }

    fn request(key: &SshKey, data: &[u8], flags: usize) -> Vec<u8> {
        let mut request = Writing(vec![SIGN_REQUEST]);
        request.string(&key.blob);
        request.string(data);
        request.number(flags);
        request.0
    }

    /// Returns the algorithm and the bytes of a signature.
    fn signed(keys: &[SshKey], flags: usize) -> Option<(String, Vec<u8>)> {
        let answer = answer(keys, &request(&keys[0], b"data", flags));
        let mut answer = Reading(answer.strip_prefix(&[SIGN_RESPONSE])?);
        let mut inner = Reading(answer.string()?);
        let algorithm = String::from_utf8(inner.string()?.to_vec()).unwrap();
        let signature = inner.string()?.to_vec();
        assert!(answer.0.is_empty() && inner.0.is_empty());
        Some((algorithm, signature))
    }

    #[test]
    fn signatures_of_every_kind_verify() {
        // The parts of a public key, without the name of its algorithm.
        fn public(key: &SshKey) -> Vec<Vec<u8>> {
            let mut blob = Reading(&key.blob);
            std::iter::from_fn(|| blob.string().map(<[u8]>::to_vec))
                .skip(1)
                .collect()
        }
        for format in ["RFC4716", "PKCS8", "PEM"] {
            let keys = [SshKey::read(&file(&["-t", "rsa", "-b", "2048", "-m", format])).unwrap()];
            let [e, n] = &public(&keys[0])[..] else {
                panic!("{keys:?}");
            };
            let public = verify::RsaPublicKeyComponents {
                n: n.strip_prefix(&[0]).unwrap_or(n),
                e,
            };
            let (algorithm, signature) = signed(&keys, 2).unwrap();
            assert_eq!(algorithm, "rsa-sha2-256");
            let scheme = &verify::RSA_PKCS1_2048_8192_SHA256;
            public.verify(scheme, b"data", &signature).unwrap();
            let (algorithm, signature) = signed(&keys, 4).unwrap();
            assert_eq!(algorithm, "rsa-sha2-512");
            let scheme = &verify::RSA_PKCS1_2048_8192_SHA512;
            public.verify(scheme, b"data", &signature).unwrap();
            // SHA-1 is nothing to sign with any more.
            assert_eq!(signed(&keys, 0), None);
        }
        let keys = [SshKey::read(&file(&["-t", "ed25519"])).unwrap()];
        let (algorithm, signature) = signed(&keys, 0).unwrap();
        assert_eq!(algorithm, "ssh-ed25519");
        let point = UnparsedPublicKey::new(&verify::ED25519, public(&keys[0]).remove(0));
        point.verify(b"data", &signature).unwrap();
        for (bits, length, scheme) in [
            ("256", 32, &verify::ECDSA_P256_SHA256_FIXED),
            ("384", 48, &verify::ECDSA_P384_SHA384_FIXED),
        ] {
            for format in ["RFC4716", "PKCS8"] {
                let file = file(&["-t", "ecdsa", "-b", bits, "-m", format]);
                let keys = [SshKey::read(&file).unwrap()];
                let (algorithm, signature) = signed(&keys, 0).unwrap();
                assert_eq!(algorithm, format!("ecdsa-sha2-nistp{bits}"));
                let mut parts = Reading(&signature);
                let mut fixed = Vec::new();
                for _ in 0..2 {
                    let part = parts.string().unwrap();
                    let part = part.strip_prefix(&[0]).unwrap_or(part);
                    fixed.extend(vec![0; length - part.len()]);
                    fixed.extend(part);
                }
                let point = UnparsedPublicKey::new(scheme, public(&keys[0]).remove(1));
                point.verify(b"data", &fixed).unwrap();
            }
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_reason() {
        #[track_caller]
        fn check(file: &[u8], expected: &str) {
            let Err(Error::SshKey { reason }) = SshKey::read(file) else {
                panic!("{}", String::from_utf8_lossy(file));
            };
            assert!(reason.contains(expected), "{reason}");
        }
        let passphrase = ["-t", "ed25519", "-N", "secret"];
        check(&file(&passphrase), "passphrase");
        let pem = ["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "secret"];
        check(&file(&pem), "passphrase");
        let pkcs8 = ["-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "secret"];
        check(&file(&pkcs8), "passphrase");
        check(&file(&["-t", "ecdsa", "-b", "521"]), "none of Ed25519");
        check(&file(&["-t", "rsa", "-b", "1024"]), "2048");
        check(
            &file(&["-t", "ecdsa", "-b", "256", "-m", "PEM"]),
            "ssh-keygen -p",
        );
        check(b"", "no private key");
        check(b"ssh-ed25519 AAAA a", "no private key");
        check(&[0xff; 300], "no private key");
        let whole = file(&["-t", "ed25519"]);
        check(&whole[..whole.len() / 2], "damaged");
        let text = String::from_utf8(whole).unwrap();
        check(text.replacen("b3Bl", "AAAA", 1).as_bytes(), "damaged");
    }

    #[test]
    fn requests_that_are_not_for_a_command_fail() {
        let keys = [SshKey::read(&file(&["-t", "ed25519"])).unwrap()];
        let listed = answer(&keys, &[REQUEST_IDENTITIES]);
        assert_eq!(listed.get(..5), Some(&[IDENTITIES_ANSWER, 0, 0, 0, 1][..]));
        assert!(listed.ends_with(b"a comment"));
        let whole = request(&keys[0], b"data", 0);
        let mut other = whole.clone();
        other[20] ^= 1;
        let longer = [&whole[..], &[0]].concat();
        let huge = [SIGN_REQUEST, 0xff, 0xff, 0xff, 0xff, 1];
        let mut hostile: Vec<&[u8]> = vec![&[], &[17, 0], &[19], &[22], &[27], &[11, 0], &huge];
        hostile.extend([&other[..], &longer]);
        hostile.extend((1..whole.len()).map(|length| &whole[..length]));
        for request in hostile {
            assert_eq!(answer(&keys, request), [FAILURE], "{request:?}");
        }
        assert_eq!(format!("{:?}", SshAgent::Keys(keys.into())), "Keys([***])");
    }
}
