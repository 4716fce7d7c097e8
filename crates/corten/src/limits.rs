//! `--limit`: what a layer may ask for while it is read.

use std::str::FromStr;

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
        if !LayerLimits::default().set(name, 0) {
            let names = LayerLimits::NAMES.join(", ");
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

fn number(text: &str) -> Option<u64> {
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

/// Returns `base` with `changes`; of two for one limit the last counts.
pub(crate) fn changed(mut base: LayerLimits, changes: &[Limit]) -> LayerLimits {
    for limit in changes {
        let is_known = base.set(&limit.name, limit.value);
        debug_assert!(is_known, "names are checked when they are parsed");
    }
    base
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
