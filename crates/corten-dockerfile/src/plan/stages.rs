//! What each stage begins with and is for.

use super::{PlanOptions, PlannedStage};
use crate::diagnostic::Diagnostic;
use crate::document::Stage;
use crate::instruction::{Instruction, Kind};
use crate::platform::Platform;
use crate::scope::{self, Base, Scope};

pub(super) fn planned(
    stage: &Stage,
    earlier: &[PlannedStage],
    scope: &Scope,
    options: &PlanOptions<'_>,
) -> Result<PlannedStage, Diagnostic> {
    let from = &stage.from;
    let name = scope::expand_word(&from.base, &scope.global_args, scope.escape)?;
    if name.text.is_empty() {
        let message = format!("`{}` is empty", from.base.text);
        let diagnostic = Diagnostic::new(message, from.base.span);
        return Err(match name.unset.first() {
            Some(variable) => diagnostic.with_hint(format!(
                "`{variable}` needs an ARG with a value before the first FROM"
            )),
            None => diagnostic,
        });
    }
    let mut platform = match &from.platform {
        None => options.platform.clone(),
        Some(word) => {
            let text = scope::expand_word(word, &scope.global_args, scope.escape)?.text;
            if text.is_empty() {
                let message = format!("the platform `{}` is empty", word.text);
                return Err(Diagnostic::new(message, word.span));
            }
            Platform::parse(&text, options.build_platform)
                .map_err(|error| scope::refused(&error, word))?
        }
    };
    // BuildKit's ONBUILD of the text counts all the same for those built on the context.
    let triggers = on_build(&stage.instructions);
    if let Some(context) = context_of(stage, options) {
        return Ok(PlannedStage {
            name: Some(context.clone()),
            base: Base::Image {
                name: context,
                platform: platform.clone(),
            },
            platform,
            span: stage.span,
            instructions: Vec::new(),
            triggers,
            is_context: true,
        });
    }
    let base = match scope.stage_names.get(&name.text) {
        Some(index) => {
            if let Some(base) = earlier.get(*index) {
                platform = base.platform.clone();
            }
            Base::Stage(*index)
        }
        None if name.text == "scratch" => {
            // There is nothing to be chosen, and BuildKit has it for what the build is for.
            platform = options.platform.clone();
            Base::Scratch
        }
        None => Base::Image {
            name: name.text,
            platform: platform.clone(),
        },
    };
    Ok(PlannedStage {
        name: from.name.as_ref().map(|name| name.text.clone()),
        base,
        platform,
        span: stage.span,
        instructions: stage.instructions.clone(),
        triggers,
        is_context: false,
    })
}

fn on_build(instructions: &[Instruction]) -> Vec<Instruction> {
    let triggers = instructions
        .iter()
        .filter_map(|instruction| match &instruction.kind {
            Kind::OnBuild(on_build) => Some((*on_build.trigger).clone()),
            _ => None,
        });
    triggers.collect()
}

/// Returns the name of the context that has the place of `stage`. What BuildKit itself calls by a name
/// is not replaced.
fn context_of(stage: &Stage, options: &PlanOptions<'_>) -> Option<String> {
    let name = &stage.from.name.as_ref()?.text;
    let is_own = ["scratch", "context"].contains(&name.as_str());
    (!is_own && options.contexts.contains(name)).then(|| name.clone())
}
