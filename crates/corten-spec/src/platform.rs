//! Platforms: what content runs on, and which entry of an index fits (image-index.md).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::shorten;
use crate::{Descriptor, Error, Result};

/// An operating system and a processor, in Go's names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Platform {
    /// The processor, such as `amd64`.
    pub architecture: String,
    /// The operating system, such as `linux`.
    pub os: String,
    /// The operating system's version (Windows).
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// Features of the operating system that are needed.
    #[serde(default, rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The processor's variant, such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Reserved; kept for old manifest lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

crate::json::only_objects!(Platform);

impl Platform {
    /// Returns the platform `os/architecture`.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self {
            architecture: architecture.into(),
            os: os.into(),
            ..Self::default()
        }
    }

    /// Returns the platform that this program was compiled for; images are Linux's everywhere.
    pub fn host() -> Self {
        Self::new("linux", architecture_of(std::env::consts::ARCH).0)
    }

    /// Returns the same platform in the names of the specification: `x86_64` becomes `amd64`, and
    /// variants that mean nothing more than the architecture are dropped.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let (architecture, implied) = architecture_of(&self.architecture);
        let variant = self
            .variant
            .as_deref()
            .filter(|variant| !variant.is_empty())
            .or(implied);
        let variant = match (architecture, variant) {
            ("arm64", Some("v8" | "8")) | ("amd64", Some("v1")) => None,
            ("arm", None) => Some("v7".to_owned()),
            ("arm", Some(bare @ ("5" | "6" | "7" | "8"))) => Some(format!("v{bare}")),
            (_, variant) => variant.map(str::to_owned),
        };
        Self {
            architecture: architecture.to_owned(),
            os: if self.os == "macos" {
                "darwin".into()
            } else {
                self.os.to_ascii_lowercase()
            },
            variant,
            ..self.clone()
        }
    }

    /// Returns how well content for `offered` runs on this platform: the smaller the better, `None`
    /// if it does not.
    ///
    /// A processor runs code for its own and for lower variants of its architecture (IDX-13).
    fn distance(&self, offered: &Self) -> Option<u32> {
        let (wanted, offered) = (self.normalized(), offered.normalized());
        if wanted.os != offered.os || wanted.architecture != offered.architecture {
            return None;
        }
        if let Some(version) = &wanted.os_version
            && offered
                .os_version
                .as_ref()
                .is_some_and(|other| other != version)
        {
            return None;
        }
        if wanted.variant == offered.variant {
            return Some(0);
        }
        let level =
            |platform: &Self| variant_level(&platform.architecture, platform.variant.as_deref());
        level(&wanted)?.checked_sub(level(&offered)?)
    }
}

/// Returns the entry of `entries` that fits `wanted` best; of equals, the first (IDX-15).
///
/// Entries without a platform fit only if nothing else does.
pub fn select<'a>(entries: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    let fitting = entries.iter().filter_map(|entry| {
        let distance = match &entry.platform {
            Some(platform) => wanted.distance(platform)?,
            None => u32::MAX,
        };
        (entry.kind().has_children()).then_some((distance, entry))
    });
    fitting
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, entry)| entry)
}

fn architecture_of(name: &str) -> (&str, Option<&'static str>) {
    match name {
        "x86_64" | "x86-64" | "amd64" => ("amd64", None),
        "aarch64" | "arm64" => ("arm64", None),
        "x86" | "i386" | "i486" | "i586" | "i686" => ("386", None),
        "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        "powerpc64" => ("ppc64le", None),
        other => (other, None),
    }
}

fn variant_level(architecture: &str, variant: Option<&str>) -> Option<u32> {
    let number = |text: &str| text.parse::<u32>().ok();
    match (architecture, variant) {
        ("amd64", None) => Some(1),
        ("amd64" | "arm", Some(variant)) => number(variant.strip_prefix('v')?),
        ("arm64", None) => Some(800),
        ("arm64", Some(variant)) => {
            let (major, minor) = match variant.strip_prefix('v')?.split_once('.') {
                Some((major, minor)) => (number(major)?, number(minor)?),
                None => (number(variant.strip_prefix('v')?)?, 0),
            };
            // ARMv9.0 has everything of ARMv8.5 (the Arm Architecture Reference Manual).
            let (major, minor) = if major == 9 {
                (8, minor.checked_add(5)?)
            } else {
                (major, minor)
            };
            major.checked_mul(100)?.checked_add(minor)
        }
        ("ppc64le", Some(variant)) => number(variant.strip_prefix("power")?),
        ("ppc64le" | "riscv64", None) => Some(0),
        ("riscv64", Some(variant)) => number(variant.strip_prefix("rva")?.strip_suffix("u64")?),
        _ => None,
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// Reads `os/architecture[/variant]`, or `architecture` alone for Linux.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::InvalidPlatform {
            text: shorten(text),
            reason: "expected `os/architecture[/variant]`, such as `linux/amd64` or `linux/arm/v7`",
        };
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        };
        if !parts.iter().all(is_word) {
            return Err(invalid());
        }
        let platform = match parts.as_slice() {
            [os @ ("linux" | "windows" | "darwin" | "freebsd")] => {
                Self::new(os, &Self::host().architecture)
            }
            [architecture] => Self::new("linux", architecture),
            [os, architecture] => Self::new(os, architecture),
            [os, architecture, variant] => Self {
                variant: Some((*variant).to_owned()),
                ..Self::new(os, architecture)
            },
            _ => return Err(invalid()),
        };
        Ok(platform.normalized())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant
            .as_ref()
            .map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, media_type};

    #[test]
    fn texts() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            let platform = text
                .parse::<Platform>()
                .ok()
                .map(|platform| platform.to_string());
            assert_eq!(platform.as_deref(), expected, "{text:?}");
        }
        check("linux/amd64", Some("linux/amd64"));
        check("linux/x86_64", Some("linux/amd64"));
        check("arm64", Some("linux/arm64"));
        check("linux/arm64/v8", Some("linux/arm64"));
        check("linux/arm", Some("linux/arm/v7"));
        check("linux/arm/6", Some("linux/arm/v6"));
        check("linux/armel", Some("linux/arm/v6"));
        check("", None);
        check("linux/", None);
        check("linux/a/b/c", None);
        check("linux/a b", None);
    }

    #[test]
    fn selection() {
        #[track_caller]
        fn check(wanted: &str, offered: &[&str], expected: Option<usize>) {
            let entries: Vec<Descriptor> = offered
                .iter()
                .enumerate()
                .map(|(number, text)| {
                    let digest = Digest::sha256(&[u8::try_from(number).unwrap()]);
                    let mut entry = Descriptor::new(media_type::OCI_MANIFEST, digest, 1);
                    let mut parts = text.split('/');
                    entry.platform = (!text.is_empty()).then(|| Platform {
                        os: parts.next().unwrap().into(),
                        architecture: parts.next().unwrap().into(),
                        variant: parts.next().map(str::to_owned),
                        ..Platform::default()
                    });
                    entry
                })
                .collect();
            let chosen = select(&entries, &wanted.parse().unwrap());
            let chosen = chosen.and_then(|chosen| entries.iter().position(|entry| entry == chosen));
            assert_eq!(chosen, expected, "{wanted} of {offered:?}");
        }
        check(
            "linux/amd64",
            &["linux/arm64", "linux/amd64", "linux/amd64"],
            Some(1),
        );
        check("linux/arm64", &["linux/arm64/v8"], Some(0));
        check("linux/arm64/v8", &["linux/arm64"], Some(0));
        check(
            "linux/amd64/v3",
            &["linux/amd64", "linux/amd64/v2", "linux/amd64/v3"],
            Some(2),
        );
        check(
            "linux/amd64/v3",
            &["linux/amd64", "linux/amd64/v4"],
            Some(0),
        );
        check("linux/amd64", &["linux/amd64/v2"], None);
        check(
            "linux/arm/v7",
            &["linux/arm/v5", "linux/arm/v6", "linux/arm64"],
            Some(1),
        );
        check("linux/amd64", &["unknown/unknown", ""], Some(1));
        check("linux/amd64", &["windows/amd64"], None);
        check("linux/amd64", &["linux/x86_64"], Some(0));
    }
}
