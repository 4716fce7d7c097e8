//! How a container of an image is run: the `config` of an image config (config.md, and what Docker
//! adds to it).

use serde_json::{Map, Value};

use super::annotations::{Holder, check_annotations};
use super::fields::{check_text, check_texts, child, quoted, shown};
use super::finding::Fault;
use super::report::{Report, must, note, should};

const AT: &str = "/config";

/// Checks how a container of the image is run.
pub(super) fn check_run(report: &mut Report<'_>, run: &Value) {
    let Some(fields) = run.as_object() else {
        let fault = Fault::differs(shown(run), "an object");
        return report.pointer(AT, must("CFG-15"), fault);
    };
    // All of them are optional, and null is absent (CFG-08).
    let fields: Map<String, Value> = fields
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let field = |name: &str| fields.get(name);
    check_annotations(
        report,
        "/config/Labels",
        field("Labels"),
        ("CFG-24", Holder::Labels),
    );
    check_environment(report, field("Env"));
    for (name, id) in [
        ("Entrypoint", "CFG-19"),
        ("Cmd", "CFG-20"),
        ("OnBuild", "DKR-14"),
        ("Shell", "DKR-14"),
    ] {
        check_texts(report, &child(AT, name), field(name), id);
    }
    check_user(report, field("User"));
    check_set(report, "Volumes", field("Volumes"), "CFG-22");
    check_ports(report, field("ExposedPorts"));
    check_signal(report, field("StopSignal"));
    if let Some(directory) = check_text(report, "/config/WorkingDir", field("WorkingDir"), "CFG-23")
        && !directory.is_empty()
        && !is_absolute(directory)
    {
        let fault = Fault::differs(quoted(directory), "an absolute path");
        report.pointer("/config/WorkingDir", should("CFG-23"), fault);
    }
    match field("ArgsEscaped") {
        None | Some(Value::Bool(false)) => {}
        Some(Value::Bool(true)) => {
            report.pointer("/config/ArgsEscaped", note("CFG-26"), "it is deprecated");
        }
        Some(other) => {
            let fault = Fault::differs(shown(other), "true or false");
            report.pointer("/config/ArgsEscaped", must("CFG-26"), fault);
        }
    }
    if let Some(check) = field("Healthcheck") {
        check_health(report, check);
    }
}

/// Linux's paths, and those of Windows's containers.
fn is_absolute(path: &str) -> bool {
    let is_drive = |path: &str| {
        let bytes = path.as_bytes();
        matches!(bytes, [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic())
    };
    path.starts_with(['/', '\\']) || is_drive(path)
}

fn check_environment(report: &mut Report<'_>, entries: Option<&Value>) {
    let at = "/config/Env";
    for (entry_idx, entry) in check_texts(report, at, entries, "CFG-18") {
        let at = child(at, &entry_idx.to_string());
        let fault = || Fault::differs(quoted(entry), "`NAME=value`");
        match entry.split_once('=') {
            Some((name, _)) if !name.is_empty() && !entry.contains('\0') => {}
            // Real images have names alone, which runtimes pass on or drop.
            None if !entry.is_empty() && !entry.contains('\0') => {
                report.pointer(&at, should("CFG-18"), fault());
            }
            Some(_) | None => report.pointer(&at, must("CFG-18"), fault()),
        }
    }
}

fn check_user(report: &mut Report<'_>, user: Option<&Value>) {
    let Some(user) = check_text(report, "/config/User", user, "CFG-16") else {
        return;
    };
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.contains(|letter: char| letter == ':' || letter == '/' || letter.is_control())
    };
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group)),
        None => (user, None),
    };
    // Docker takes a group alone, with the user that is the default.
    let is_right =
        (is_name(name) || (name.is_empty() && group.is_some())) && group.is_none_or(is_name);
    if !user.is_empty() && !is_right {
        let fault = Fault::differs(quoted(user), "`USER`, or `USER:GROUP`");
        report.pointer("/config/User", should("CFG-16"), fault);
    }
}

/// Checks a set of names, which is written as an object of empty objects.
fn check_set<'a>(
    report: &mut Report<'_>,
    name: &str,
    value: Option<&'a Value>,
    id: &'static str,
) -> Option<&'a Map<String, Value>> {
    let (at, value) = (child(AT, name), value?);
    let Some(set) = value.as_object() else {
        let fault = Fault::differs(shown(value), "an object of empty objects");
        report.pointer(&at, must(id), fault);
        return None;
    };
    for (key, value) in set {
        let at = child(&at, key);
        match value.as_object() {
            Some(fields) if fields.is_empty() => {}
            Some(_) => {
                let fault = Fault::differs("an object with fields", "an empty object");
                report.pointer(&at, should(id), fault);
            }
            None => {
                let fault = Fault::differs(shown(value), "an empty object");
                report.pointer(&at, must(id), fault);
            }
        }
        if key.is_empty() {
            report.pointer(&at, should(id), "the name is empty");
        }
    }
    Some(set)
}

fn check_ports(report: &mut Report<'_>, ports: Option<&Value>) {
    let Some(ports) = check_set(report, "ExposedPorts", ports, "CFG-17") else {
        return;
    };
    for port in ports
        .keys()
        .filter(|port| !is_port(port) && !port.is_empty())
    {
        let at = child("/config/ExposedPorts", port);
        let fault = Fault::differs(quoted(port), "a port such as `80/tcp`");
        report.pointer(&at, should("CFG-17"), fault);
    }
}

fn is_port(text: &str) -> bool {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    is_number && port.parse::<u16>().is_ok() && matches!(protocol, "tcp" | "udp" | "sctp")
}

fn check_signal(report: &mut Report<'_>, signal: Option<&Value>) {
    if let Some(signal) = check_text(report, "/config/StopSignal", signal, "CFG-25")
        && !signal.is_empty()
        && !is_signal(signal)
    {
        let fault = Fault::differs(quoted(signal), "a signal such as `SIGTERM`");
        report.pointer("/config/StopSignal", should("CFG-25"), fault);
    }
}

/// Signals of Linux by name; a number is as good (CFG-25).
fn is_signal(text: &str) -> bool {
    const NAMES: [&str; 35] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV",
        "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CLD", "CONT", "STOP", "TSTP", "TTIN",
        "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "POLL", "PWR", "SYS",
        "UNUSED",
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

/// Checks Docker's health check, which OCI reserves (DKR-13).
fn check_health(report: &mut Report<'_>, check: &Value) {
    let at = "/config/Healthcheck";
    let Some(fields) = check.as_object() else {
        let fault = Fault::differs(shown(check), "an object");
        return report.pointer(at, must("DKR-13"), fault);
    };
    let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
    let test = check_texts(report, &child(at, "Test"), field("Test"), "DKR-13");
    let is_right = match test.as_slice() {
        [] | [(0, "NONE")] | [(0, "CMD-SHELL"), _] => true,
        [(0, "CMD"), rest @ ..] => !rest.is_empty(),
        _ => false,
    };
    if !is_right {
        let expected = "`NONE`, `CMD` and a command, or `CMD-SHELL` and one text";
        let first = test.first().map_or("", |(_, text)| text);
        let fault = Fault::differs(quoted(first), expected);
        report.pointer(&child(at, "Test"), should("DKR-13"), fault);
    }
    for name in [
        "Interval",
        "Timeout",
        "StartPeriod",
        "StartInterval",
        "Retries",
    ] {
        let at = child(at, name);
        match field(name) {
            None => {}
            Some(number) if number.as_i64().is_some_and(|number| number >= 0) => {}
            Some(number) if number.as_i64().is_some() => {
                let fault = Fault::differs(shown(number), "0 or more");
                report.pointer(&at, should("DKR-13"), fault);
            }
            Some(other) => {
                let fault = Fault::differs(shown(other), "a whole number");
                report.pointer(&at, must("DKR-13"), fault);
            }
        }
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
