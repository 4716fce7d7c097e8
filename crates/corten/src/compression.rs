//! How layers are compressed, wherever they are written.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use corten_snapshot::PackOptions;
use corten_tar::Compression;

/// The option of every command that writes a layer.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct CompressionArgs {
    /// How to compress: gzip (levels 0 to 12), zstd (1 to 22) or none. The bytes depend on neither the
    /// machine nor the number of its processors
    #[arg(long, value_name = "KIND[:LEVEL]", default_value_t)]
    compression: Chosen,
}

impl CompressionArgs {
    /// Returns how layers are packed.
    pub(crate) fn pack(&self) -> PackOptions {
        PackOptions {
            compression: self.compression.kind,
            level: self.compression.level,
            ..PackOptions::default()
        }
    }
}

/// A compression and its level, if one was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) kind: Compression,
    pub(crate) level: Option<i32>,
}

impl Default for Chosen {
    fn default() -> Self {
        Self {
            kind: Compression::Gzip,
            level: None,
        }
    }
}

impl FromStr for Chosen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, level) = match text.split_once(':') {
            Some((kind, level)) => (kind, Some(level)),
            None => (text, None),
        };
        let (kind, levels) = match kind {
            "gzip" => (Compression::Gzip, 0..=12),
            "zstd" => (Compression::Zstd, 1..=22),
            "none" if level.is_some() => return Err("`none` has no levels".to_owned()),
            "none" => (Compression::None, 0..=0),
            other => return Err(format!("`{other}` is none of `gzip`, `zstd` and `none`")),
        };
        let parse = |level: &str| {
            let level = level.parse().ok().filter(|level| levels.contains(level));
            let (first, last) = (levels.start(), levels.end());
            level.ok_or(format!("the levels go from {first} to {last}"))
        };
        let level = level.map(parse).transpose()?;
        Ok(Self { kind, level })
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        })?;
        match self.level {
            Some(level) => write!(f, ":{level}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        #[track_caller]
        fn check(text: &str, expected: Result<&str, &str>) {
            let chosen = text.parse::<Chosen>().map(|chosen| chosen.to_string());
            let chosen = chosen.as_deref().map_err(String::as_str);
            assert_eq!(chosen, expected, "{text:?}");
        }
        for text in ["gzip", "gzip:0", "gzip:12", "zstd", "zstd:22", "none"] {
            check(text, Ok(text));
        }
        check("none:1", Err("`none` has no levels"));
        check("gzip:13", Err("the levels go from 0 to 12"));
        check("zstd:0", Err("the levels go from 1 to 22"));
        check("zstd:", Err("the levels go from 1 to 22"));
        check("xz", Err("`xz` is none of `gzip`, `zstd` and `none`"));
    }
}
