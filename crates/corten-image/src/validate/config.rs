//! Image configs (config.md).

use corten_spec::{Descriptor, DiffId, DocumentType, ImageConfig, Platform, platform};
use serde_json::Value;

use super::fields::{check_annotations, child, shown};
use super::manifest::{conclude, parse};
use super::{Report, must, note, should};

/// What a config says that its manifest is checked against.
#[derive(Debug, Default)]
pub(super) struct ConfigParts {
    /// The `DiffIDs`, base first; `None` for one that is no digest.
    pub(super) diff_ids: Vec<Option<DiffId>>,
    /// The platform.
    pub(super) platform: Option<Platform>,
}

/// Checks the bytes of an image config, whose digest is right.
pub(super) fn check_config(
    report: &mut Report<'_>,
    descriptor: &Descriptor,
    bytes: &[u8],
) -> ConfigParts {
    let Some(value) = parse(report, ImageConfig::NAME, bytes) else {
        return ConfigParts::default();
    };
    for (name, id) in [("architecture", "CFG-10"), ("os", "CFG-11")] {
        if value
            .get(name)
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
        {
            report.pointer(&child("", name), must(id), "it is not there");
        }
    }
    check_time(report, "/created", value.get("created"), "CFG-09");
    let diff_ids = check_rootfs(report, value.get("rootfs"));
    check_history(report, value.get("history"), diff_ids.len());
    if let Some(run) = value.get("config").filter(|run| !run.is_null()) {
        check_run(report, run);
    }
    conclude::<ImageConfig>(report, descriptor, bytes);
    let config: Option<ImageConfig> = serde_json::from_value(value).ok();
    ConfigParts {
        diff_ids,
        platform: config.map(|config| config.platform()),
    }
}

fn check_rootfs(report: &mut Report<'_>, rootfs: Option<&Value>) -> Vec<Option<DiffId>> {
    let Some(rootfs) = rootfs.filter(|rootfs| rootfs.is_object()) else {
        report.pointer("/rootfs", must("CFG-30"), "it is not there");
        return Vec::new();
    };
    let kind = rootfs.get("type").unwrap_or(&Value::Null);
    if kind != "layers" {
        report.pointer(
            "/rootfs/type",
            must("CFG-31"),
            format!("it is {}, expected `layers`", shown(kind)),
        );
    }
    let Some(ids) = rootfs.get("diff_ids").and_then(Value::as_array) else {
        report.pointer("/rootfs/diff_ids", must("CFG-32"), "it is not there");
        return Vec::new();
    };
    let parse = |(id_idx, id): (usize, &Value)| {
        let parsed = id.as_str().and_then(|id| id.parse().ok()).map(DiffId);
        if parsed.is_none() {
            let at = format!("/rootfs/diff_ids/{id_idx}");
            report.pointer(&at, must("CFG-32"), format!("{} is no digest", shown(id)));
        }
        parsed
    };
    ids.iter().enumerate().map(parse).collect()
}

/// Checks that the entries of the history that made a layer are as many as the layers (CFG-36).
fn check_history(report: &mut Report<'_>, history: Option<&Value>, n_layers: usize) {
    let entries = match history {
        None | Some(Value::Null) => return,
        Some(Value::Array(entries)) => entries,
        Some(other) => {
            let message = format!("it is {}, expected an array", shown(other));
            return report.pointer("/history", must("CFG-35"), message);
        }
    };
    let mut n_made = 0;
    for (entry_idx, entry) in entries.iter().enumerate() {
        let at = format!("/history/{entry_idx}");
        for name in ["author", "created_by", "comment"] {
            let value = entry.get(name).unwrap_or(&Value::Null);
            if !value.is_null() && !value.is_string() {
                let message = format!("it is {}, expected a string", shown(value));
                report.pointer(&child(&at, name), must("CFG-35"), message);
            }
        }
        check_time(
            report,
            &child(&at, "created"),
            entry.get("created"),
            "CFG-35",
        );
        match entry.get("empty_layer") {
            Some(Value::Bool(true)) => {}
            None | Some(Value::Bool(false) | Value::Null) => n_made += 1,
            Some(other) => {
                let message = format!("it is {}, expected true or false", shown(other));
                report.pointer(&child(&at, "empty_layer"), must("CFG-35"), message);
            }
        }
    }
    if n_made != n_layers {
        let rule = should("CFG-36").advise(
            "tools that show which instruction made a layer will be wrong about this image",
        );
        let message = format!("{n_made} entries made a layer, but there are {n_layers} DiffIDs");
        report.pointer("/history", rule, message);
    }
}

/// Checks how a container of the image is run.
fn check_run(report: &mut Report<'_>, run: &Value) {
    let labels = run.get("Labels").filter(|labels| !labels.is_null());
    check_annotations(report, "/config/Labels", labels, "CFG-24");
    for (entry_idx, entry) in run
        .get("Env")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        let at = format!("/config/Env/{entry_idx}");
        match entry.as_str().map(|entry| entry.split_once('=')) {
            Some(Some((name, _))) if !name.is_empty() => {}
            // Real images have names alone; the schema refuses them, and so does runc.
            Some(None) => {
                let message = format!("{} has no `=`", shown(entry));
                report.pointer(&at, should("CFG-18"), message);
            }
            Some(Some(_)) | None => {
                let message = format!("{} is not of the form `NAME=value`", shown(entry));
                report.pointer(&at, must("CFG-18"), message);
            }
        }
    }
    for (name, id) in [("Volumes", "CFG-22"), ("ExposedPorts", "CFG-17")] {
        let value = run.get(name).unwrap_or(&Value::Null);
        if !value.is_null() && !value.is_object() {
            let message = format!(
                "it is {}, expected an object of empty objects",
                shown(value)
            );
            report.pointer(&child("/config", name), must(id), message);
        }
    }
    let ports = run.get("ExposedPorts").and_then(Value::as_object);
    for port in ports.into_iter().flat_map(serde_json::Map::keys) {
        if !is_port(port) {
            let at = child("/config/ExposedPorts", port);
            report.pointer(
                &at,
                should("CFG-17"),
                format!("`{port}` is no port such as `80/tcp`"),
            );
        }
    }
    if let Some(signal) = run.get("StopSignal").and_then(Value::as_str)
        && !signal.is_empty()
        && !is_signal(signal)
    {
        let message = format!("`{}` is no signal such as `SIGTERM`", signal.escape_debug());
        report.pointer("/config/StopSignal", should("CFG-25"), message);
    }
    let directory = run
        .get("WorkingDir")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !directory.is_empty() && !directory.starts_with('/') {
        let message = format!("`{}` is not absolute", directory.escape_debug());
        report.pointer("/config/WorkingDir", should("CFG-23"), message);
    }
    if run
        .get("ArgsEscaped")
        .is_some_and(|escaped| escaped == true)
    {
        report.pointer("/config/ArgsEscaped", note("CFG-26"), "it is deprecated");
    }
}

fn is_port(text: &str) -> bool {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    is_number && port.parse::<u16>().is_ok() && matches!(protocol, "tcp" | "udp" | "sctp")
}

/// Signals of Linux by name; a number is as good (CFG-25).
fn is_signal(text: &str) -> bool {
    const NAMES: [&str; 33] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV",
        "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CLD", "CONT", "STOP", "TSTP", "TTIN",
        "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let realtime = name
        .strip_prefix("RTMIN")
        .or_else(|| name.strip_prefix("RTMAX"));
    match realtime {
        Some("") => true,
        Some(offset) => {
            let digits = offset.strip_prefix(['+', '-']);
            digits.is_some_and(|digits| digits.parse::<u8>().is_ok_and(|offset| offset < 31))
        }
        None => NAMES.contains(&name),
    }
}

fn check_time(report: &mut Report<'_>, pointer: &str, value: Option<&Value>, id: &'static str) {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return;
    };
    let is_time = |text: &str| text.parse::<jiff::Timestamp>().is_ok();
    if !value.as_str().is_some_and(is_time) {
        let message = format!("{} is no time of RFC 3339", shown(value));
        report.pointer(pointer, must(id), message);
    }
}

/// Checks that an index says of an image what the image says of itself (IDX-07).
pub(super) fn check_platform(
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
    let fits = said.normalized() == found.normalized()
        || platform::select(std::slice::from_ref(&of_entry), said).is_some();
    if !fits {
        let at = format!("/manifests/{entry_idx}/platform");
        let message = format!("it is {said}, but the config of the image says {found}");
        report.pointer(&at, should("IDX-07"), message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        #[track_caller]
        fn check(text: &str, expected: bool) {
            assert_eq!(is_port(text), expected, "{text:?}");
        }
        check("80", true);
        check("80/tcp", true);
        check("53/udp", true);
        check("8000-8010/tcp", false);
        check("65536", false);
        check("+80", false);
        check("80/http", false);
        check("", false);
    }

    #[test]
    fn signals() {
        #[track_caller]
        fn check(text: &str, expected: bool) {
            assert_eq!(is_signal(text), expected, "{text:?}");
        }
        check("SIGTERM", true);
        check("TERM", true);
        check("15", true);
        check("SIGRTMIN+3", true);
        check("RTMAX-1", true);
        check("0", false);
        check("65", false);
        check("SIGNAL", false);
        check("SIGRTMIN+99", false);
        check("sigterm", false);
    }
}
