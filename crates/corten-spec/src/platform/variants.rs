//! Variants of processors (image-index.md#platform-variants).

/// Returns how many steps `offered` is below `wanted`; `None` if it is above, or of another line.
///
/// Both are normalised. A variant that is not in the table fits itself alone.
pub(super) fn distance(
    architecture: &str,
    wanted: Option<&str>,
    offered: Option<&str>,
) -> Option<u32> {
    if wanted == offered {
        return Some(0);
    }
    if architecture == "arm64" {
        return arm64_distance(arm64(wanted)?, arm64(offered)?);
    }
    level(architecture, wanted)?.checked_sub(level(architecture, offered)?)
}

fn level(architecture: &str, variant: Option<&str>) -> Option<u32> {
    match (architecture, variant) {
        ("amd64", None) => Some(1),
        ("amd64" | "arm", Some(variant)) => number(variant.strip_prefix('v')?),
        ("ppc64le", Some(variant)) => number(variant.strip_prefix("power")?),
        ("ppc64le" | "riscv64", None) => Some(0),
        ("riscv64", Some(variant)) => number(variant.strip_prefix("rva")?.strip_suffix("u64")?),
        _ => None,
    }
}

fn arm64(variant: Option<&str>) -> Option<(u32, u32)> {
    let version = variant.unwrap_or("v8").strip_prefix('v')?;
    match version.split_once('.') {
        Some((major, minor)) => Some((number(major)?, number(minor)?)),
        None => Some((number(version)?, 0)),
    }
}

/// ARMv9.0 has everything of ARMv8.5, v9.1 of v8.6, and so on (the Arm Architecture Reference
/// Manual); all of v9 is nearer to v9 than any of v8.
fn arm64_distance(wanted: (u32, u32), offered: (u32, u32)) -> Option<u32> {
    match (wanted, offered) {
        ((9, wanted), (8, offered)) => {
            let below = wanted.checked_add(5)?.checked_sub(offered)?;
            wanted.checked_add(1)?.checked_add(below)
        }
        ((major, wanted), (other, offered)) if major == other => wanted.checked_sub(offered),
        _ => None,
    }
}

fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}
