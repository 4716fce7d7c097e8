//! Names of stages, and the word before them.

use super::findings::{Findings, Place};
use super::rule::Rule;
use crate::document::{Dockerfile, Stage};
use crate::resolve::show;

/// Words that mean something else where a stage may be named.
const RESERVED: [&str; 2] = ["context", "scratch"];

/// Judges how one FROM writes its name and its AS.
pub(super) fn from(stage: &Stage, findings: &mut Findings) {
    let mut findings = findings.local(&stage.comments);
    let place = Place::from(stage);
    let words: Vec<&str> = stage.original.split_whitespace().collect();
    // The name is the last word; the tree keeps it in lower case.
    if let Some(name) = words.last().filter(|_| stage.from.name.is_some())
        && *name != name.to_lowercase()
    {
        findings.report(
            Rule::StageNameCasing,
            place,
            format!("Stage name '{name}' should be lowercase"),
        );
    }
    let (Some(from), Some(keyword)) = (words.first(), &stage.from.keyword) else {
        return;
    };
    let keyword = &keyword.text;
    let is_matched = if *from == from.to_lowercase() {
        *keyword == keyword.to_lowercase()
    } else {
        // A FROM of mixed case is another rule's matter.
        *from != from.to_uppercase() || *keyword == keyword.to_uppercase()
    };
    if !is_matched {
        findings.report(
            Rule::FromAsCasing,
            place,
            format!("'{keyword}' and '{from}' keywords' casing do not match"),
        );
    }
}

/// Judges the names of all stages together.
pub(super) fn stages(dockerfile: &Dockerfile, findings: &mut Findings) {
    let mut seen = Vec::new();
    for stage in &dockerfile.stages {
        let Some(name) = &stage.from.name else {
            continue;
        };
        let name = name.text.as_str();
        let quoted = show::quote(name);
        if RESERVED.contains(&name) {
            findings.report(
                Rule::ReservedStageName,
                Place::from(stage),
                format!("Stage name should not use the same name as reserved stage {quoted}"),
            );
        }
        if seen.contains(&name) {
            findings.report(
                Rule::DuplicateStageName,
                Place::from(stage),
                format!("Duplicate stage name {quoted}, stage names should be unique"),
            );
        } else {
            seen.push(name);
        }
    }
}
