//! Platforms: what content runs on, and which entry of an index fits (image-index.md).
//!
//! The texts and the rules are those of containerd where the specification leaves room, with two
//! exceptions: of entries that fit equally the first is chosen, as the specification asks, whatever
//! their revision; and no other architecture stands in for the one that was asked for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::shorten;
use crate::{Descriptor, Error, Result};

mod os_version;
mod variants;

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
        let (architecture, variant) = normalize(std::env::consts::ARCH, None);
        Self {
            variant,
            ..Self::new("linux", &architecture)
        }
    }

    /// Returns the same platform in the names of the specification, as containerd normalises them:
    /// `x86_64` becomes `amd64`, and variants that mean nothing more than the architecture are
    /// dropped. Features are sorted, each once.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let (architecture, variant) = normalize(
            &self.architecture.to_ascii_lowercase(),
            self.variant.as_deref(),
        );
        let mut os_features = self.os_features.clone();
        os_features.sort();
        os_features.dedup();
        Self {
            architecture,
            os: normalize_os(&self.os),
            os_version: self.os_version.clone().filter(|text| !text.is_empty()),
            os_features,
            variant,
            features: self.features.clone(),
        }
    }

    /// Tells whether content for `offered` runs on this platform.
    pub fn runs(&self, offered: &Self) -> bool {
        self.distance(offered).is_some()
    }

    /// Returns how well content for `offered` runs on this platform: the smaller the better, `None`
    /// if it does not.
    ///
    /// A processor runs code for its own and for lower variants of its architecture (IDX-13). Other
    /// architectures count as others, although some amd64 machines run 386 and some arm64 machines
    /// run arm: what such an image holds is then chosen by name, not by accident.
    fn distance(&self, offered: &Self) -> Option<Distance> {
        let (wanted, offered) = (self.normalized(), offered.normalized());
        if wanted.os != offered.os || wanted.architecture != offered.architecture {
            return None;
        }
        Some(Distance {
            variant: variants::distance(
                &wanted.architecture,
                wanted.variant.as_deref(),
                offered.variant.as_deref(),
            )?,
            version: os_version::distance(
                &wanted.os,
                wanted.os_version.as_deref(),
                offered.os_version.as_deref(),
            )?,
            features: features_distance(&wanted, &offered)?,
        })
    }

    /// Returns what comes before the first slash: the system with its version and features.
    fn system(&self) -> String {
        let mut options = String::new();
        if let Some(version) = &self.os_version {
            push_escaped(version, &mut options);
        }
        for feature in &self.os_features {
            options.push('+');
            push_escaped(feature, &mut options);
        }
        if options.is_empty() {
            return self.os.clone();
        }
        format!("{}({options})", self.os)
    }
}

/// How far one platform is from another, what counts most first. All zero is an exact match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Distance {
    variant: u32,
    version: u32,
    features: usize,
}

/// Returns the entry of `entries` that fits `wanted` best; of equals, the first (IDX-15).
///
/// Entries without a platform fit only if nothing else does, entries that are no manifests never.
pub fn select<'a>(entries: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    let fitting = entries.iter().filter_map(|entry| {
        let distance = match &entry.platform {
            Some(platform) => Some(wanted.distance(platform)?),
            None => None,
        };
        let rank = (distance.is_none(), distance);
        (entry.kind().has_children()).then_some((rank, entry))
    });
    fitting
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, entry)| entry)
}

/// Everything that the content needs must be wanted (IDX-12); of two that fit, the one that uses more
/// of it is nearer.
///
/// `win32k` is a feature that every full Windows has, so it is wanted there even if nobody says so.
fn features_distance(wanted: &Platform, offered: &Platform) -> Option<usize> {
    let is_wanted = |feature: &String| {
        wanted.os_features.contains(feature) || (wanted.os == "windows" && feature == "win32k")
    };
    if !offered.os_features.iter().all(is_wanted) {
        return None;
    }
    let is_unused = |feature: &&String| !offered.os_features.contains(feature);
    Some(wanted.os_features.iter().filter(is_unused).count())
}

fn normalize_os(os: &str) -> String {
    match os.to_ascii_lowercase() {
        os if os == "macos" => "darwin".to_owned(),
        os => os,
    }
}

fn normalize(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let variant = variant
        .map(str::to_ascii_lowercase)
        .filter(|variant| !variant.is_empty());
    let (name, variant) = match (architecture, variant.as_deref()) {
        ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", None | Some("8" | "v8" | "v8.0")) => ("arm64", None),
        ("aarch64" | "arm64", Some("9" | "9.0" | "v9.0")) => ("arm64", Some("v9")),
        ("aarch64", variant) => ("arm64", variant),
        ("x86" | "i386" | "i486" | "i586" | "i686", _) => ("386", None),
        ("armhf", _) | ("arm", None | Some("7")) => ("arm", Some("v7")),
        ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        (other, variant) => (other, variant),
    };
    (name.to_owned(), variant.map(str::to_owned))
}

impl FromStr for Platform {
    type Err = Error;

    /// Reads what containerd reads: `os[(version+feature…)][/architecture[/variant]]`, or
    /// `architecture` alone for Linux. A system alone is for this machine's architecture.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = |reason| Error::InvalidPlatform {
            text: shorten(text),
            reason,
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (system, rest) = parts.split_first().ok_or_else(|| invalid(FORM))?;
        if !rest.iter().all(|part| is_word(part)) {
            return Err(invalid(FORM));
        }
        let system = System::parse(system).map_err(invalid)?;
        let (architecture, variant) = match *rest {
            [] if OPERATING_SYSTEMS.contains(&system.os.as_str()) => {
                (Self::host().architecture, None)
            }
            [] => {
                let (architecture, variant) = normalize(&system.os, None);
                if system.has_options || !ARCHITECTURES.contains(&architecture.as_str()) {
                    return Err(invalid(
                        "it is neither an operating system nor an architecture that is known; \
                         write it as `os/architecture`",
                    ));
                }
                return Ok(Self {
                    variant,
                    ..Self::new("linux", &architecture)
                });
            }
            [architecture] => (architecture.to_owned(), None),
            [architecture, variant] => (architecture.to_owned(), Some(variant.to_owned())),
            _ => return Err(invalid(FORM)),
        };
        let platform = Self {
            architecture,
            os: system.os,
            os_version: system.version,
            os_features: system.features,
            variant,
            features: Vec::new(),
        };
        Ok(platform.normalized())
    }
}

const FORM: &str = "expected `os[(version)]/architecture[/variant]`, such as `linux/amd64`, \
                    `linux/arm/v7` or `windows(10.0.17763)/amd64`";

/// What stands alone for a system: the names that Go knows and containers exist for.
const OPERATING_SYSTEMS: [&str; 12] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
];

/// What stands alone for an architecture: the names that Go knows.
const ARCHITECTURES: [&str; 17] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc",
    "ppc64", "ppc64le", "riscv", "riscv64", "s390x", "sparc64", "wasm",
];

/// The part of a platform before the first slash.
struct System {
    os: String,
    version: Option<String>,
    features: Vec<String>,
    has_options: bool,
}

impl System {
    fn parse(text: &str) -> std::result::Result<Self, &'static str> {
        let (name, options) = match text.split_once('(') {
            Some((name, rest)) => (name, Some(rest.strip_suffix(')').ok_or(FORM)?)),
            None => (text, None),
        };
        if name.is_empty() || !is_word(name) || (options.is_some() && name.contains('.')) {
            return Err(FORM);
        }
        let mut values = options.unwrap_or_default().split('+');
        let version = unescape(values.next().unwrap_or_default())?;
        let features: std::result::Result<Vec<_>, _> = values.map(unescape).collect();
        let features = features?;
        if features.iter().any(String::is_empty) {
            return Err(FORM);
        }
        Ok(Self {
            os: normalize_os(name),
            version: Some(version).filter(|version| !version.is_empty()),
            features,
            has_options: options.is_some(),
        })
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// Reads a version or feature, in which `%2B` stands for what the syntax needs for itself.
fn unescape(text: &str) -> std::result::Result<String, &'static str> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.%-".contains(&byte);
    if !text.bytes().all(is_allowed) {
        return Err(FORM);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit(), digit());
        let value = high
            .zip(low)
            .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        bytes.push(value.ok_or("a `%` is not followed by two hexadecimal digits")?);
    }
    String::from_utf8(bytes).map_err(|_| "its version or features are not UTF-8")
}

fn push_escaped(text: &str, shown: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-".contains(&byte) {
            shown.push(char::from(byte));
            continue;
        }
        let digits = [byte >> 4, byte & 15].map(|digit| char::from(HEX[usize::from(digit)]));
        shown.push('%');
        shown.extend(digits);
    }
}

impl fmt::Display for Platform {
    /// Writes what [`Platform::from_str`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.system(), self.architecture)?;
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
        check("Linux/AMD64/V2", Some("linux/amd64/v2"));
        check("linux/x86_64", Some("linux/amd64"));
        check("linux/x86-64/v1", Some("linux/amd64"));
        check("arm64", Some("linux/arm64"));
        check("aarch64", Some("linux/arm64"));
        check("linux/arm64/v8", Some("linux/arm64"));
        check("linux/arm64/v8.0", Some("linux/arm64"));
        check("linux/arm64/9", Some("linux/arm64/v9"));
        check("linux/arm64/v8.2", Some("linux/arm64/v8.2"));
        check("linux/arm", Some("linux/arm/v7"));
        check("linux/arm/6", Some("linux/arm/v6"));
        check("linux/armel", Some("linux/arm/v6"));
        check("armhf", Some("linux/arm/v7"));
        check("linux/i386", Some("linux/386"));
        check("macos/arm64", Some("darwin/arm64"));
        check(
            "windows(10.0.17763)/amd64",
            Some("windows(10.0.17763)/amd64"),
        );
        check(
            "windows(10.0.17763+win32k)/amd64",
            Some("windows(10.0.17763+win32k)/amd64"),
        );
        check("linux(+b+a+b)/amd64", Some("linux(+a+b)/amd64"));
        check("linux(1%2B2%2f3)/amd64", Some("linux(1%2B2%2F3)/amd64"));
        check("linux()/amd64", Some("linux/amd64"));
        // Pairs need not be known; what stands alone must be.
        check("wasi/wasm", Some("wasi/wasm"));
        check("made-up/one/v3", Some("made-up/one/v3"));
        check("loong64", Some("linux/loong64"));
        check("made-up", None);
        check("amd64(1)", None);
        check("lin.ux(1)/amd64", None);
        check("linux(1/amd64", None);
        check("linux(1)x/amd64", None);
        check("linux(1+)/amd64", None);
        check("linux(1%17%c3%A9)/amd64", Some("linux(1%17%C3%A9)/amd64"));
        check("linux(%2)/amd64", None);
        check("linux(%ff)/amd64", None);
        check("linux(a b)/amd64", None);
        check("linux/*", None);
        check("", None);
        check("/", None);
        check("linux/", None);
        check("linux/a/b/c", None);
        check("linux/a b", None);
    }

    #[test]
    fn a_system_alone_is_for_this_machine() {
        let platform: Platform = "linux".parse().unwrap();
        assert_eq!(platform, Platform::host());
        let platform: Platform = "windows(10.0.20348)".parse().unwrap();
        assert_eq!(platform.architecture, Platform::host().architecture);
        assert_eq!(platform.os_version.as_deref(), Some("10.0.20348"));
    }

    /// Reads a platform without normalising it: what an index may hold.
    fn raw(text: &str) -> Platform {
        let (system, rest) = text.split_once('/').unwrap();
        let mut parts = rest.split('/');
        let system = System::parse(system).unwrap();
        Platform {
            os: text.split(['(', '/']).next().unwrap().into(),
            os_version: system.version,
            os_features: system.features,
            architecture: parts.next().unwrap().into(),
            variant: parts.next().map(str::to_owned),
            features: Vec::new(),
        }
    }

    #[track_caller]
    fn check_selection(wanted: &str, offered: &[&str], expected: Option<usize>) {
        let entries: Vec<Descriptor> = offered
            .iter()
            .enumerate()
            .map(|(number, text)| {
                let digest = Digest::sha256(&[u8::try_from(number).unwrap()]);
                let mut entry = Descriptor::new(media_type::OCI_MANIFEST, digest, 1);
                entry.platform = (!text.is_empty()).then(|| raw(text));
                entry
            })
            .collect();
        let chosen = select(&entries, &wanted.parse().unwrap());
        let chosen = chosen.and_then(|chosen| entries.iter().position(|entry| entry == chosen));
        assert_eq!(chosen, expected, "{wanted} of {offered:?}");
    }

    #[test]
    fn selection() {
        let check = check_selection;
        check(
            "linux/amd64",
            &["linux/arm64", "linux/amd64", "linux/amd64"],
            Some(1),
        );
        check("linux/amd64", &["unknown/unknown", ""], Some(1));
        check("linux/amd64", &["", "linux/amd64"], Some(1));
        check("linux/amd64", &["windows/amd64"], None);
        check("linux/amd64", &["linux/x86_64"], Some(0));
        check("linux/amd64", &["Linux/AMD64"], Some(0));
        check("linux/amd64", &["linux/386"], None);
        check("linux/arm64", &["linux/arm/v8"], None);
        check("linux/amd64", &[], None);
    }

    #[test]
    fn selection_by_variant() {
        let check = check_selection;
        check("linux/arm64", &["linux/arm64/v8"], Some(0));
        check("linux/arm64/v8", &["linux/arm64"], Some(0));
        check(
            "linux/arm64",
            &["linux/arm64/v8.1", "linux/arm64/v8"],
            Some(1),
        );
        check("linux/arm64", &["linux/arm64/v9"], None);
        check(
            "linux/arm64/v8.2",
            &["linux/arm64", "linux/arm64/v8.1"],
            Some(1),
        );
        check(
            "linux/arm64/v9",
            &["linux/arm64/v8", "linux/arm64/v8.5"],
            Some(1),
        );
        check("linux/arm64/v9", &["linux/arm64/v8.6"], None);
        check("linux/arm64/v8.6", &["linux/arm64/v9"], None);
        check(
            "linux/arm64/v9.2",
            &["linux/arm64/v8.7", "linux/arm64/v9.1"],
            Some(1),
        );
        check(
            "linux/amd64/v3",
            &["linux/amd64", "linux/amd64/v2", "linux/amd64/v3"],
            Some(2),
        );
        check(
            "linux/amd64/v3",
            &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"],
            Some(1),
        );
        check(
            "linux/amd64/v3",
            &["linux/amd64/v1", "linux/amd64"],
            Some(0),
        );
        check("linux/amd64/v3", &["linux/amd64/v4"], None);
        check("linux/amd64", &["linux/amd64/v2"], None);
        check("linux/amd64", &["linux/amd64/v1"], Some(0));
        check(
            "linux/amd64/odd",
            &["linux/amd64", "linux/amd64/odd"],
            Some(1),
        );
        check("linux/amd64", &["linux/amd64/odd"], None);
        check(
            "linux/arm",
            &["linux/arm/v5", "linux/arm/v6", "linux/arm64"],
            Some(1),
        );
        check("linux/arm", &["linux/arm/v8", "linux/arm"], Some(1));
        check("linux/arm/v6", &["linux/arm/v7", "linux/arm/v5"], Some(1));
        check("linux/arm/v5", &["linux/arm/v6"], None);
        check("linux/arm/v8", &["linux/arm/v5", "linux/arm/v7"], Some(1));
        check("linux/riscv64", &["linux/riscv64/rva20u64"], None);
        check(
            "linux/riscv64/rva23u64",
            &["linux/riscv64", "linux/riscv64/rva22u64"],
            Some(1),
        );
        check(
            "linux/ppc64le/power10",
            &["linux/ppc64le/power8", "linux/ppc64le/power9"],
            Some(1),
        );
        check(
            "linux/ppc64le/power9",
            &["linux/ppc64le/power10", "linux/ppc64le"],
            Some(1),
        );
    }

    #[test]
    fn selection_by_version_of_the_system() {
        let check = check_selection;
        let servers = [
            "windows(10.0.17763.5329)/amd64",
            "windows(10.0.20348.2227)/amd64",
            "windows(10.0.26100.1)/amd64",
        ];
        check("windows(10.0.17763)/amd64", &servers, Some(0));
        check("windows(10.0.17763.1)/amd64", &servers, Some(0));
        check("windows(10.0.20348)/amd64", &servers, Some(1));
        check("windows(10.0.26100)/amd64", &servers, Some(2));
        // Since Windows Server 2022, a host runs what is between its long-term release and itself.
        check("windows(10.0.22621)/amd64", &servers, Some(1));
        check("windows(10.0.25398)/amd64", &servers, Some(1));
        check("windows(10.0.27000)/amd64", &servers, Some(2));
        check("windows(10.0.26100)/amd64", &servers[..2], None);
        check("windows(10.0.18362)/amd64", &servers, None);
        check("windows(11.0.20348)/amd64", &servers, None);
        check(
            "windows(10.0.20348)/amd64",
            &["windows/amd64", servers[1]],
            Some(1),
        );
        check("windows(10.0.20348)/amd64", &["windows/amd64"], Some(0));
        check("windows/amd64", &servers, Some(0));
        check(
            "windows(10.0.20348.9)/amd64",
            &["windows(10.0.20348.8)/amd64", "windows(10.0.20348.9)/amd64"],
            Some(1),
        );
        check(
            "windows(10.0.20348)/amd64",
            &["windows(10.0.20348.8)/amd64", "windows(10.0.20348.9)/amd64"],
            Some(0),
        );
        // Other systems say nothing about their versions that could be relied on.
        check("linux/amd64", &["linux(5.10)/amd64"], Some(0));
        check("linux(6.1)/amd64", &["linux(5.10)/amd64"], Some(0));
    }

    #[test]
    fn selection_by_features_of_the_system() {
        let check = check_selection;
        check("linux/amd64", &["linux(+erofs)/amd64"], None);
        check(
            "linux/amd64",
            &["linux(+erofs)/amd64", "linux/amd64"],
            Some(1),
        );
        check(
            "linux(+erofs)/amd64",
            &["linux/amd64", "linux(+erofs)/amd64"],
            Some(1),
        );
        check("linux(+erofs)/amd64", &["linux/amd64"], Some(0));
        check(
            "linux(+a+b)/amd64",
            &["linux(+b+c)/amd64", "linux(+b)/amd64"],
            Some(1),
        );
        check("windows/amd64", &["windows(+win32k)/amd64"], Some(0));
        check("windows/amd64", &["windows(+other)/amd64"], None);
    }
}
