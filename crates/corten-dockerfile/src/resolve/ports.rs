//! EXPOSE: `[[ip:]host:]port[-port][/protocol]` to keys of `ExposedPorts`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Names, Outcome, StageState, show};
use crate::diagnostic::Diagnostic;
use crate::expand::{Lex, Mode};
use crate::scope;
use crate::step::Step;
use crate::words::Word;

/// More keys than all ports of all three protocols is a mistake or an attack.
const MAX_PORTS: usize = 3 * 65_536;

pub(super) fn resolve(
    words: &[Word],
    state: &StageState,
    names: &mut Names,
) -> Result<Outcome, Diagnostic> {
    // BuildKit sorts before it expands, and the order shows in the history.
    let mut words: Vec<&Word> = words.iter().collect();
    words.sort_by(|a, b| a.text.cmp(&b.text));
    let mut shown = Vec::new();
    for word in words {
        let mode = Mode {
            escape: state.scope.escape,
            ..Mode::default()
        };
        let mut lex = Lex::new(&word.text, &state.env, &mode);
        let (_, ports) = lex
            .run(&word.text)
            .map_err(|error| scope::refused(&error, word))?;
        names.used.extend(lex.used);
        names.unset.extend(lex.unset);
        for port in ports {
            let (first, last, protocol) = parse(&port).ok_or_else(|| {
                Diagnostic::new(format!("`{port}` is not a port"), word.span)
                    .with_label("such as `80`, `8000-8010` or `53/udp`")
            })?;
            if shown.len() + usize::from(last - first) >= MAX_PORTS {
                return Err(Diagnostic::new("EXPOSE names too many ports", word.span));
            }
            shown.extend((first..=last).map(|port| format!("{port}/{protocol}")));
        }
    }
    let created_by = format!("EXPOSE {}", show::list(&shown));
    let mut seen = BTreeSet::new();
    shown.retain(|port| seen.insert(port.clone()));
    Ok((Step::Expose(shown), Some(created_by)))
}

/// Returns the first port, the last one and the protocol.
///
/// An address and a host port are allowed and mean nothing, as in BuildKit.
fn parse(text: &str) -> Option<(u16, u16, String)> {
    let mut parts = text.rsplitn(3, ':');
    let container = parts.next()?;
    let host = parts.next().unwrap_or_default();
    let address = parts.next().unwrap_or_default();
    let (ports, protocol) = container.split_once('/').unwrap_or((container, ""));
    let protocol = match protocol.to_lowercase().as_str() {
        "" => "tcp".to_owned(),
        known @ ("tcp" | "udp" | "sctp") => known.to_owned(),
        _ => return None,
    };
    let bare = address
        .strip_prefix('[')
        .and_then(|a| a.strip_suffix(']'))
        .unwrap_or(address);
    if !address.is_empty() && bare.parse::<IpAddr>().is_err() {
        return None;
    }
    let (first, last) = range(ports)?;
    if !host.is_empty() {
        let (host_first, host_last) = range(host)?;
        if last - first != host_last - host_first && first != last {
            return None;
        }
    }
    Some((first, last, protocol))
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        #[track_caller]
        fn check(text: &str, expected: Option<(u16, u16, &str)>) {
            let found = parse(text);
            let found = found.as_ref().map(|(a, b, p)| (*a, *b, p.as_str()));
            assert_eq!(found, expected, "{text:?}");
        }

        check("80", Some((80, 80, "tcp")));
        check("80/", Some((80, 80, "tcp")));
        check("53/UDP", Some((53, 53, "udp")));
        check("8000-8002", Some((8000, 8002, "tcp")));
        check("8080:80", Some((80, 80, "tcp")));
        check("127.0.0.1:8080:80/sctp", Some((80, 80, "sctp")));
        check("[::1]:8080:80", Some((80, 80, "tcp")));
        check("1-2:5-6", Some((5, 6, "tcp")));
        check("1-3:5-6", None);
        check("8002-8000", None);
        check("65536", None);
        check("80/icmp", None);
        check("x:1:80", None);
        check("http", None);
        check("", None);
    }
}
