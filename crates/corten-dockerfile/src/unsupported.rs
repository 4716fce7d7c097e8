//! What the grammar has and the builder cannot do yet: refused before anything runs.

use crate::diagnostic::Diagnostic;
use crate::instruction::{CopySource, Instruction, Kind};
use crate::plan::Plan;

/// Flags by instruction. A line goes when the builder learns it.
const FLAGS: &[(&str, &str)] = &[
    ("RUN", "mount"),
    ("RUN", "security"),
    ("RUN", "device"),
    ("COPY", "link"),
    ("COPY", "parents"),
    ("COPY", "exclude"),
    ("ADD", "link"),
    ("ADD", "exclude"),
    ("ADD", "checksum"),
    ("ADD", "keep-git-dir"),
    ("ADD", "unpack"),
];

/// Returns what the stages that `plan` needs ask for and the builder cannot do.
///
/// Addresses that only appear once variables are expanded are refused by
/// [`resolve`](crate::resolve()).
pub fn unsupported(plan: &Plan) -> Vec<Diagnostic> {
    let stages = plan
        .needed
        .iter()
        .filter_map(|index| plan.stages.get(*index));
    let mut found: Vec<_> = stages
        .flat_map(|stage| unsupported_in(&stage.instructions))
        .collect();
    found.sort_by_key(|diagnostic| diagnostic.span);
    found
}

/// Returns what `instructions`, such as the triggers of a base image, ask for and the builder cannot
/// do. ONBUILD itself is only kept, so anything may be inside.
pub fn unsupported_in(instructions: &[Instruction]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for instruction in instructions {
        let name = instruction.name;
        for flag in &instruction.flags {
            // `--link=false` asks for nothing.
            let asked = !flag
                .value
                .as_deref()
                .is_some_and(|v| v.eq_ignore_ascii_case("false"));
            if asked && FLAGS.contains(&(name, flag.name.as_str())) {
                let message = format!("{name} --{} is not supported yet", flag.name);
                found.push(Diagnostic::new(message, flag.span));
            }
        }
        let Kind::Copy(copy) = &instruction.kind else {
            continue;
        };
        for source in &copy.sources {
            if let CopySource::Path(word) = source
                && copy.add
                && is_remote(&word.text)
            {
                found.push(remote(word.span));
            }
        }
    }
    found
}

pub(crate) fn remote(span: crate::diagnostic::Span) -> Diagnostic {
    Diagnostic::new("ADD from an address is not supported yet", span)
}

/// Tells whether BuildKit would fetch a source, over HTTP or with git.
pub(crate) fn is_remote(source: &str) -> bool {
    let schemes = ["http://", "https://", "git://", "ssh://"];
    schemes.iter().any(|scheme| source.starts_with(scheme)) || is_scp_like(source)
}

/// `user@host:path`, which git takes for a repository reached through ssh.
fn is_scp_like(source: &str) -> bool {
    let Some((user, rest)) = source.split_once('@') else {
        return false;
    };
    let Some((host, path)) = rest.split_once(':') else {
        return false;
    };
    let word = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    word(user) && word(host) && !path.is_empty()
}
