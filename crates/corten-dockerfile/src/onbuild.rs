//! The triggers that a base image's config carries.

use crate::diagnostic::{Diagnostic, Span};
use crate::error::Error;
use crate::instruction::{Instruction, Kind};

/// Turns the `OnBuild` strings of a base image's config into instructions.
///
/// They run before the stage's own. Every span is `from`, the place of the FROM that brings them in:
/// their own text is not in the Dockerfile.
///
/// # Errors
///
/// The first trigger that is not one instruction, or is FROM, ONBUILD or MAINTAINER.
pub fn triggers(expressions: &[String], from: Span) -> Result<Vec<Instruction>, Diagnostic> {
    expressions
        .iter()
        .map(|expression| trigger(expression, from))
        .collect()
}

fn trigger(expression: &str, from: Span) -> Result<Instruction, Diagnostic> {
    let explain = |message: String| Diagnostic::new(message, from).with_label(label(expression));
    let mut instructions = crate::document::parse_trigger(expression, from)
        .map_err(|error| match error {
            Error::Syntax { diagnostics } => explain(
                diagnostics
                    .first()
                    .map(|first| first.message.clone())
                    .unwrap_or_default(),
            ),
            other => explain(other.to_string()),
        })?
        .into_iter();
    let (Some(instruction), None) = (instructions.next(), instructions.next()) else {
        return Err(explain(
            "an ONBUILD trigger is not one instruction".to_owned(),
        ));
    };
    if matches!(
        instruction.kind,
        Kind::From(_) | Kind::OnBuild(_) | Kind::Maintainer(_)
    ) {
        let message = format!("{} cannot be an ONBUILD trigger", instruction.name);
        return Err(explain(message));
    }
    Ok(instruction)
}

/// Says where a message about a trigger comes from.
pub(crate) fn label(expression: &str) -> String {
    let line = expression.lines().next().unwrap_or_default();
    format!("from ONBUILD of the base image: `{line}`")
}
