//! `os/architecture[/variant]`, the way Docker writes and normalises it.

use std::fmt;

use crate::error::Error;

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// Operating system in Go's words: `linux`, `windows`.
    pub os: String,
    /// Architecture in Go's words: `amd64`, `arm64`.
    pub architecture: String,
    /// Variant, such as `v7`; empty if there is none.
    pub variant: String,
}

const SYSTEMS: [&str; 11] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
];
const ARCHITECTURES: [&str; 16] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "sparc64", "wasm", "riscv",
];

impl Platform {
    /// Makes a platform, with the architecture's usual name: `x86_64` becomes `amd64`.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let os = match os.to_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        let architecture = architecture.to_lowercase();
        let variant = variant.to_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386", _) => ("386", String::new()),
            ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64", String::new()),
            ("x86_64" | "x86-64", _) => ("amd64", variant),
            ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", String::new()),
            ("aarch64", _) => ("arm64", variant),
            ("armhf", _) => ("arm", "v7".to_owned()),
            ("armel", _) => ("arm", "v6".to_owned()),
            ("arm", "5" | "6" | "7" | "8") => ("arm", format!("v{variant}")),
            (architecture, _) => (architecture, variant),
        };
        Self {
            os,
            architecture: architecture.to_owned(),
            variant,
        }
    }

    /// Reads `os/architecture[/variant]`, or one of the first two with the rest from `default`.
    ///
    /// # Errors
    ///
    /// [`Error::Platform`] if the text has another form or a single word is neither.
    pub fn parse(text: &str, default: &Self) -> Result<Self, Error> {
        let refused = || Error::Platform {
            text: text.to_owned(),
        };
        let plain = |word: &str| {
            word.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || !plain(part)) {
            return Err(refused());
        }
        match parts.as_slice() {
            [word] => {
                let alone = Self::new(word, word, "");
                if SYSTEMS.contains(&alone.os.as_str()) {
                    Ok(Self {
                        os: alone.os,
                        ..default.clone()
                    })
                } else if ARCHITECTURES.contains(&alone.architecture.as_str()) {
                    Ok(Self {
                        os: default.os.clone(),
                        ..alone
                    })
                } else {
                    Err(refused())
                }
            }
            [os, architecture] => Ok(Self::new(os, architecture, "")),
            [os, architecture, variant] => Ok(Self::new(os, architecture, variant)),
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", self.variant)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        #[track_caller]
        fn check(text: &str, expected: Option<&str>) {
            let default = Platform::new("linux", "riscv64", "");
            let found = Platform::parse(text, &default).ok().map(|p| p.to_string());
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }

        check("linux/amd64", Some("linux/amd64"));
        check("linux/x86_64", Some("linux/amd64"));
        check("linux/arm/v7", Some("linux/arm/v7"));
        check("linux/aarch64", Some("linux/arm64"));
        check("linux/arm64/v8", Some("linux/arm64"));
        check("linux/armhf", Some("linux/arm/v7"));
        check("linux", Some("linux/riscv64"));
        check("arm64", Some("linux/arm64"));
        check("nonsense", None);
        check("a/b/c/d", None);
        check("linux/", None);
        check("", None);
    }
}
