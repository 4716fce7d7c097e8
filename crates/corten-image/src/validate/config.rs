//! Image configs (config.md).

use corten_spec::{Descriptor, DiffId, ImageConfig, Platform};
use serde_json::Value;

use super::annotations::is_time;
use super::descriptor::check_digest;
use super::fields::{check_text, child, conclude, parse, shown};
use super::finding::Fault;
use super::platform::{self, check_fields};
use super::report::{Report, must, should};
use super::run::check_run;

/// What a config says that its manifest is checked against.
#[derive(Debug, Default)]
pub(super) struct ConfigParts {
    /// The `DiffIDs`, base first; `None` for one that is no digest.
    pub(super) diff_ids: Vec<Option<DiffId>>,
    /// The platform.
    pub(super) platform: Option<Platform>,
}

/// Checks the bytes of an image config, whose digest is right; of one that is no JSON nothing is known.
pub(super) fn check_config(
    report: &mut Report<'_>,
    descriptor: &Descriptor,
    bytes: &[u8],
) -> Option<ConfigParts> {
    let mut value = parse::<ImageConfig>(report, bytes)?;
    // An optional field that is null is not there (CFG-08).
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, value| {
            !value.is_null() || ["architecture", "os", "rootfs"].contains(&name.as_str())
        });
    }
    check_fields(report, "", &value, &platform::OF_CONFIG);
    check_time(report, "/created", value.get("created"), "CFG-09");
    check_text(report, "/author", value.get("author"), "CFG-06");
    let diff_ids = check_rootfs(report, value.get("rootfs"));
    check_history(report, value.get("history"), diff_ids.len());
    if let Some(run) = value.get("config") {
        check_run(report, run);
    }
    conclude::<ImageConfig>(report, descriptor, bytes);
    let config: Option<ImageConfig> = serde_json::from_value(value).ok();
    Some(ConfigParts {
        diff_ids,
        platform: config.map(|config| config.platform()),
    })
}

fn check_rootfs(report: &mut Report<'_>, rootfs: Option<&Value>) -> Vec<Option<DiffId>> {
    let expected = "an object with `type` and `diff_ids`";
    let rootfs = match rootfs {
        Some(rootfs) if rootfs.is_object() => rootfs,
        Some(other) => {
            let fault = Fault::differs(shown(other), expected);
            report.pointer("/rootfs", must("CFG-30"), fault);
            return Vec::new();
        }
        None => {
            report.pointer("/rootfs", must("CFG-30"), Fault::missing(expected));
            return Vec::new();
        }
    };
    match rootfs.get("type") {
        Some(kind) if kind == "layers" => {}
        Some(other) => {
            let fault = Fault::differs(shown(other), "`layers`");
            report.pointer("/rootfs/type", must("CFG-31"), fault);
        }
        None => report.pointer("/rootfs/type", must("CFG-31"), Fault::missing("`layers`")),
    }
    let expected = "an array of digests";
    let ids = match rootfs.get("diff_ids") {
        Some(Value::Array(ids)) => ids,
        Some(other) => {
            let fault = Fault::differs(shown(other), expected);
            report.pointer("/rootfs/diff_ids", must("CFG-32"), fault);
            return Vec::new();
        }
        None => {
            report.pointer("/rootfs/diff_ids", must("CFG-32"), Fault::missing(expected));
            return Vec::new();
        }
    };
    let parse = |(id_idx, id): (usize, &Value)| {
        let at = format!("/rootfs/diff_ids/{id_idx}");
        let text = check_text(report, &at, Some(id), "CFG-32")?;
        check_digest(report, &at, text).map(DiffId)
    };
    ids.iter().enumerate().map(parse).collect()
}

/// Checks that the entries of the history that made a layer are as many as the layers (CFG-36).
fn check_history(report: &mut Report<'_>, history: Option<&Value>, n_layers: usize) {
    let entries = match history {
        None => return,
        Some(Value::Array(entries)) => entries,
        Some(other) => {
            let fault = Fault::differs(shown(other), "an array");
            return report.pointer("/history", must("CFG-34"), fault);
        }
    };
    let mut n_made = 0;
    for (entry_idx, entry) in entries.iter().enumerate() {
        let at = format!("/history/{entry_idx}");
        let Some(fields) = entry.as_object() else {
            let fault = Fault::differs(shown(entry), "an object");
            report.pointer(&at, must("CFG-35"), fault);
            continue;
        };
        let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
        for name in ["author", "created_by", "comment"] {
            check_text(report, &child(&at, name), field(name), "CFG-35");
        }
        check_time(report, &child(&at, "created"), field("created"), "CFG-35");
        match field("empty_layer") {
            Some(Value::Bool(true)) => {}
            None | Some(Value::Bool(false)) => n_made += 1,
            Some(other) => {
                let fault = Fault::differs(shown(other), "true or false");
                report.pointer(&child(&at, "empty_layer"), must("CFG-35"), fault);
            }
        }
    }
    if n_made != n_layers {
        let fault = Fault::differs(n_made.to_string(), n_layers.to_string());
        let message = format!("{n_made} entries made a layer, but there are {n_layers} DiffIDs");
        report.pointer("/history", should("CFG-36"), fault.saying(message));
    }
}

fn check_time(report: &mut Report<'_>, pointer: &str, value: Option<&Value>, id: &'static str) {
    let Some(value) = value else { return };
    if !value.as_str().is_some_and(is_time) {
        let fault = Fault::differs(shown(value), "a time such as `2026-01-31T12:00:00Z`");
        report.pointer(pointer, must(id), fault);
    }
}
