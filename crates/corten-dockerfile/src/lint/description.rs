//! Comments that describe a stage or an argument.

use super::findings::{Findings, Place};
use super::rule::Rule;
use crate::document::Stage;
use crate::instruction::{Arg, Instruction};

pub(super) fn args(args: &[Arg], instruction: &Instruction, findings: &mut Findings) {
    let names: Vec<&str> = args.iter().map(|arg| arg.name.text.as_str()).collect();
    let place = Place::of(instruction);
    judge("ARG", &names, &instruction.comments, place, findings);
}

pub(super) fn stage(stage: &Stage, findings: &mut Findings) {
    if let Some(name) = &stage.from.name {
        let place = Place::from(stage);
        judge("FROM", &[&name.text], &stage.comments, place, findings);
    }
}

/// The last comment begins with what it describes.
fn judge(
    instruction: &str,
    names: &[&str],
    comments: &[String],
    place: Place,
    findings: &mut Findings,
) {
    let Some(comment) = comments.last() else {
        return;
    };
    let first = comment.split(' ').next().unwrap_or_default();
    if names.contains(&first) {
        return;
    }
    let example = match names {
        [] => return,
        [name] => name,
        [..] => "<arg_key>",
    };
    findings.local(comments).report(
        Rule::InvalidDefinitionDescription,
        place,
        format!("Comment for {instruction} should follow the format: `# {example} <description>`"),
    );
}
