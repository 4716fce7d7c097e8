//! How EXPOSE writes its ports.

use super::findings::{Local, Place};
use super::rule::Rule;
use crate::expand::expand_words;
use crate::words::Word;

pub(super) fn judge(
    ports: &[Word],
    env: &[(String, String)],
    escape: char,
    place: Place,
    findings: &mut Local<'_>,
) {
    let words = ports
        .iter()
        .filter_map(|word| expand_words(&word.text, env, escape).ok());
    for port in words.flatten() {
        let (host, container) = match port.rsplit_once(':') {
            Some((host, container)) => (host, container),
            None => ("", port.as_str()),
        };
        let (_, protocol) = container.split_once('/').unwrap_or((container, ""));
        if protocol != protocol.to_lowercase() {
            findings.report(
                Rule::ExposeProtoCasing,
                place,
                format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase"),
            );
        }
        // `:80` names neither.
        if host.bytes().any(|byte| byte != b':') {
            findings.report(
                Rule::ExposeInvalidFormat,
                place,
                format!(
                    "EXPOSE instruction should not define an IP address or host-port mapping, \
                     found '{port}'"
                ),
            );
        }
    }
}
