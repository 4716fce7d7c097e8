//! The case of instructions' names.

use super::findings::{Findings, Place};
use super::rule::Rule;
use crate::document::Dockerfile;

/// Judges every name by what most of them are; capitals win where there are as many.
pub(super) fn commands(dockerfile: &Dockerfile, findings: &mut Findings) {
    let names: Vec<(&str, Place)> = dockerfile
        .stages
        .iter()
        .flat_map(|stage| {
            let from = (first_word(&stage.original), Place::from(stage));
            let rest = stage
                .instructions
                .iter()
                .map(|one| (first_word(&one.original), Place::of(one)));
            std::iter::once(from).chain(rest)
        })
        .collect();
    let n_lower = names.iter().filter(|(name, _)| is_lower(name)).count();
    let n_upper = names.iter().filter(|(name, _)| is_upper(name)).count();
    let lower = n_lower > n_upper;
    for (name, place) in names {
        let (is_right, case) = if lower {
            (is_lower(name), "lowercase")
        } else {
            (is_upper(name), "uppercase")
        };
        if !is_right {
            findings.report(
                Rule::ConsistentInstructionCasing,
                place,
                format!("Command '{name}' should match the case of the command majority ({case})"),
            );
        }
    }
}

/// Returns the name of an instruction as it is written.
pub(super) fn first_word(original: &str) -> &str {
    original.split_whitespace().next().unwrap_or_default()
}

fn is_lower(name: &str) -> bool {
    !name.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_upper(name: &str) -> bool {
    !name.bytes().any(|byte| byte.is_ascii_lowercase())
}
