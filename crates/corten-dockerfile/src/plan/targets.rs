//! Which stages are wanted.

use super::PlannedStage;
use crate::diagnostic::Diagnostic;
use crate::document::Dockerfile;
use crate::instruction::Kind;
use crate::scope::Scope;
use crate::suggest;

pub(super) fn wanted(
    targets: &[&str],
    stages: &[PlannedStage],
    scope: &Scope,
) -> Result<Vec<usize>, Diagnostic> {
    let mut wanted = Vec::new();
    for target in targets {
        let index = find(Some(target), stages, scope)?;
        if !wanted.contains(&index) {
            wanted.push(index);
        }
    }
    if wanted.is_empty() {
        wanted.push(find(None, stages, scope)?);
    }
    Ok(wanted)
}

/// Refuses `TARGETSTAGE`, which has one value in a build, where there are several targets.
pub(super) fn one_target_stage(dockerfile: &Dockerfile) -> Result<(), Diagnostic> {
    const NAME: &str = "TARGETSTAGE";
    let froms = dockerfile.stages.iter().flat_map(|stage| {
        let words = [Some(&stage.from.base), stage.from.platform.as_ref()];
        words.into_iter().flatten()
    });
    let in_stages = dockerfile
        .stages
        .iter()
        .flat_map(|stage| &stage.instructions);
    let args = dockerfile.global_args.iter().chain(in_stages);
    let args = args.filter_map(|instruction| match &instruction.kind {
        Kind::Arg(args) => Some(args),
        _ => None,
    });
    let args = args
        .flatten()
        .flat_map(|arg| [Some(&arg.name), arg.default.as_ref()]);
    let found = froms
        .chain(args.flatten())
        .find(|word| word.text.contains(NAME));
    let Some(word) = found else {
        return Ok(());
    };
    let message = format!("`{NAME}` cannot be several targets at once");
    Err(Diagnostic::new(message, word.span).with_hint("build the targets one after the other"))
}

fn find(wanted: Option<&str>, stages: &[PlannedStage], scope: &Scope) -> Result<usize, Diagnostic> {
    let last = stages.len().saturating_sub(1);
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        return Ok(last);
    };
    if let Some(index) = scope.stage_names.get(&wanted.to_lowercase()) {
        return Ok(*index);
    }
    let span = stages.last().map(|stage| stage.span).unwrap_or_default();
    let names: Vec<&str> = stages
        .iter()
        .filter_map(|stage| stage.name.as_deref())
        .collect();
    let diagnostic = Diagnostic::new(format!("there is no stage `{wanted}`"), span);
    let diagnostic = match suggest::nearest(wanted, names.iter().copied()) {
        Some(near) => diagnostic.with_label(format!("did you mean `{near}`?")),
        None => diagnostic.with_label("the last stage"),
    };
    Err(diagnostic.with_hint(if names.is_empty() {
        "no stage has a name; give one with `FROM … AS name`".to_owned()
    } else {
        format!("the stages are `{}`", names.join("`, `"))
    }))
}
