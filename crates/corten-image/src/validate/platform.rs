//! Platforms, of descriptors and of configs (image-index.md, config.md).

use corten_spec::{Descriptor, Platform, platform};
use serde_json::Value;

use super::fields::{check_text, check_texts, child, quoted, shown};
use super::finding::Fault;
use super::report::{Report, Rule, must, should};

/// The same rules have ids of their own in both documents.
pub(super) struct PlatformRules {
    architecture: &'static str,
    os: &'static str,
    version: &'static str,
    features: &'static str,
    variant: &'static str,
}

pub(super) const OF_DESCRIPTOR: PlatformRules = PlatformRules {
    architecture: "IDX-09",
    os: "IDX-10",
    version: "IDX-11",
    features: "IDX-12",
    variant: "IDX-13",
};

pub(super) const OF_CONFIG: PlatformRules = PlatformRules {
    architecture: "CFG-10",
    os: "CFG-11",
    version: "CFG-12",
    features: "CFG-13",
    variant: "CFG-14",
};

/// What stands for no platform: `BuildKit` gives it to attestations, so that nobody runs them.
const UNKNOWN: &str = "unknown";

/// Go's names (`go tool dist list`, and those that Go reserves).
const ARCHITECTURES: [&str; 25] = [
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "arm64",
    "arm64be",
    "armbe",
    "loong64",
    "mips",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "mipsle",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
    UNKNOWN,
];
const SYSTEMS: [&str; 20] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    UNKNOWN,
    "wasi",
    "wasip1",
    "windows",
    "zos",
];

/// Checks the fields of a platform, which are those of `value` below `pointer`.
pub(super) fn check_fields(
    report: &mut Report<'_>,
    pointer: &str,
    value: &Value,
    rules: &PlatformRules,
) {
    for (name, id, known) in [
        ("architecture", rules.architecture, &ARCHITECTURES[..]),
        ("os", rules.os, &SYSTEMS),
    ] {
        check_name(report, &child(pointer, name), value.get(name), (id, known));
    }
    let text = |name| value.get(name).and_then(Value::as_str);
    check_text(
        report,
        &child(pointer, "os.version"),
        value.get("os.version"),
        rules.version,
    );
    let at = child(pointer, "os.features");
    for (feature_idx, feature) in check_texts(report, &at, value.get("os.features"), rules.features)
    {
        if text("os") == Some("windows") && feature != "win32k" {
            let fault = Fault::differs(quoted(feature), "`win32k`");
            let at = child(&at, &feature_idx.to_string());
            report.pointer(&at, should(rules.features), fault);
        }
    }
    let at = child(pointer, "variant");
    if let Some(variant) = check_text(report, &at, value.get("variant"), rules.variant)
        && let Some(architecture) = text("architecture")
        && let Some(expected) = expected_variant(architecture, variant)
    {
        let fault = Fault::differs(quoted(variant), expected);
        report.pointer(&at, should(rules.variant), fault);
    }
}

fn check_name(
    report: &mut Report<'_>,
    pointer: &str,
    value: Option<&Value>,
    (id, known): (&'static str, &[&str]),
) {
    let expected = "a name of Go's, such as `amd64` or `linux`";
    match value {
        None => report.pointer(pointer, must(id), Fault::missing(expected)),
        Some(Value::String(name)) if !name.is_empty() => {
            if !known.contains(&name.as_str()) {
                let rule: Rule = should(id);
                report.pointer(pointer, rule, Fault::differs(quoted(name), expected));
            }
        }
        Some(other) => report.pointer(pointer, must(id), Fault::differs(shown(other), expected)),
    }
}

/// Returns what a variant should look like if `variant` does not; of architectures that the table of
/// image-index.md does not have, any is right.
fn expected_variant(architecture: &str, variant: &str) -> Option<&'static str> {
    let is_number = |text: &str| text.len() <= 3 && text.parse::<u8>().is_ok();
    let (is_right, expected) = match architecture {
        "arm" => (
            matches!(variant, "v5" | "v6" | "v7" | "v8"),
            "`v6`, `v7` or `v8`",
        ),
        "arm64" => {
            let version = variant.strip_prefix('v');
            let is_right = version.is_some_and(|version| match version.split_once('.') {
                Some((major, minor)) => matches!(major, "8" | "9") && is_number(minor),
                None => matches!(version, "8" | "9"),
            });
            (is_right, "`v8`, `v8.1` and so on")
        }
        "amd64" => (matches!(variant, "v1" | "v2" | "v3" | "v4"), "`v1` to `v4`"),
        "ppc64le" => (
            variant.strip_prefix("power").is_some_and(is_number),
            "`power8` and so on",
        ),
        "riscv64" => {
            let profile = variant
                .strip_prefix("rva")
                .and_then(|it| it.strip_suffix("u64"));
            (profile.is_some_and(is_number), "`rva20u64` and so on")
        }
        _ => return None,
    };
    (!is_right).then_some(expected)
}

/// Checks that an index says of an image what the image says of itself (IDX-07).
pub(super) fn check_same(
    report: &mut Report<'_>,
    entry_idx: usize,
    entry: &Descriptor,
    found: &Platform,
) {
    let Some(said) = &entry.platform else {
        return;
    };
    let of_entry = Descriptor {
        platform: Some(found.clone()),
        ..entry.bare()
    };
    let is_unknown = said.os == UNKNOWN && said.architecture == UNKNOWN;
    let fits = is_unknown
        || said.normalized() == found.normalized()
        || platform::select(std::slice::from_ref(&of_entry), said).is_some();
    if !fits {
        let at = format!("/manifests/{entry_idx}/platform");
        let fault = Fault::differs(format!("`{said}`"), format!("`{found}`"));
        let message = format!("it is `{said}`, but the config of the image says `{found}`");
        report.pointer(&at, should("IDX-07"), fault.saying(message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants() {
        #[track_caller]
        fn check(architecture: &str, variant: &str, is_right: bool) {
            let expected = expected_variant(architecture, variant);
            assert_eq!(expected.is_none(), is_right, "{architecture}/{variant}");
        }
        check("arm", "v7", true);
        check("arm", "7", false);
        check("arm64", "v8", true);
        check("arm64", "v8.2", true);
        check("arm64", "v9.0", true);
        check("arm64", "v7", false);
        check("arm64", "v8.", false);
        check("amd64", "v3", true);
        check("amd64", "v5", false);
        check("ppc64le", "power9", true);
        check("ppc64le", "9", false);
        check("riscv64", "rva22u64", true);
        check("riscv64", "rvau64", false);
        check("s390x", "z13", true);
    }
}
