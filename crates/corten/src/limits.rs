//! `--limit`: what a layer may ask for while it is read, and how long documents may be.

use std::str::FromStr;

use corten_spec::DocumentLimits;
use corten_tar::LayerLimits;

/// One limit and its new value, `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    name: String,
    value: u64,
}

/// What multiplies a number; the longer spellings mean the same.
const UNITS: [(&str, u32); 4] = [("k", 10), ("m", 20), ("g", 30), ("t", 40)];

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or("it has no `=`, as in `entries=10000000`")?;
        if !names().any(|known| known == name) {
            let names: Vec<_> = names().collect();
            let names = names.join(", ");
            return Err(format!("there is no limit `{name}`; there are {names}"));
        }
        let value = number(value).ok_or_else(|| {
            format!("`{value}` is not a number such as 4000000, 512MiB or 64GiB, with 1 MiB = 2^20")
        })?;
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }
}

/// Reads a number, which may have a unit in powers of two.
pub(crate) fn number(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let short = lower.strip_suffix("ib").unwrap_or(&lower);
    let unit = UNITS
        .iter()
        .find_map(|&(unit, shift)| Some((short.strip_suffix(unit)?, shift)));
    let (digits, shift) = match unit {
        Some(unit) => unit,
        None if short.len() == lower.len() => (short, 0),
        None => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn names() -> impl Iterator<Item = &'static str> {
    LayerLimits::NAMES.into_iter().chain(DocumentLimits::NAMES)
}

/// Returns `base` with those of `changes` that are about layers; of two for one limit the last counts.
pub(crate) fn changed(mut base: LayerLimits, changes: &[Limit]) -> LayerLimits {
    for limit in changes {
        base.set(&limit.name, limit.value);
    }
    base
}

/// Returns the usual limits of documents with those of `changes` that are about them.
pub(crate) fn of_documents(changes: &[Limit]) -> DocumentLimits {
    let mut limits = DocumentLimits::default();
    for limit in changes {
        limits.set(&limit.name, limit.value);
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        #[track_caller]
        fn check(text: &str, expected: Option<u64>) {
            let limit = Limit::from_str(text).ok();
            assert_eq!(limit.map(|limit| limit.value), expected, "{text}");
        }
        check("entries=5", Some(5));
        check("total_bytes=64GiB", Some(64 << 30));
        check("pax_bytes=2m", Some(2 << 20));
        check("file_bytes=1T", Some(1 << 40));
        check("expansion=0", Some(0));
        for wrong in [
            "entries",
            "entries=",
            "entries=-1",
            "entries=5ib",
            "entries=1.5g",
            "other=1",
            "=1",
            "total_bytes=99999999999T",
            "entries=GiB",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn every_name_is_for_layers_or_documents() {
        let changes: Vec<Limit> = names()
            .map(|name| format!("{name}=7").parse().unwrap())
            .collect();
        let limits = of_documents(&changes);
        assert_eq!(limits.manifest_bytes, 7);
        assert_eq!(limits.index_bytes, 7);
        assert_eq!(limits.config_bytes, 7);
        assert_eq!(changed(LayerLimits::default(), &changes).archive.entries, 7);
    }

    #[test]
    fn the_last_counts() {
        let changes =
            ["entries=1", "entries=2", "window_bytes=8m"].map(|text| text.parse().unwrap());
        let limits = changed(LayerLimits::default(), &changes);
        assert_eq!(limits.archive.entries, 2);
        assert_eq!(limits.decoding.window_bytes, 8 << 20);
        let usual = LayerLimits::default();
        assert_eq!(limits.archive.total_bytes, usual.archive.total_bytes);
    }
}
