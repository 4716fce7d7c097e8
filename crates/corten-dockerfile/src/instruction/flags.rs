//! Which flags each instruction takes.

use crate::diagnostic::Diagnostic;
use crate::suggest;
use crate::words::{Flag, Word};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Nothing, or true or false.
    Switch,
    /// A value, once.
    Value,
    /// A value, any number of times.
    Values,
}

fn known(instruction: &str) -> &'static [(&'static str, Takes)] {
    match instruction {
        "FROM" => &[("platform", Takes::Value)],
        "RUN" => &[
            ("mount", Takes::Values),
            ("network", Takes::Value),
            ("security", Takes::Value),
            ("device", Takes::Values),
        ],
        "COPY" => &[
            ("from", Takes::Value),
            ("chown", Takes::Value),
            ("chmod", Takes::Value),
            ("link", Takes::Switch),
            ("parents", Takes::Switch),
            ("exclude", Takes::Values),
        ],
        "ADD" => &[
            ("chown", Takes::Value),
            ("chmod", Takes::Value),
            ("link", Takes::Switch),
            ("exclude", Takes::Values),
            ("checksum", Takes::Value),
            ("keep-git-dir", Takes::Switch),
            ("unpack", Takes::Switch),
        ],
        "HEALTHCHECK" => &[
            ("interval", Takes::Value),
            ("timeout", Takes::Value),
            ("start-period", Takes::Value),
            ("start-interval", Takes::Value),
            ("retries", Takes::Value),
        ],
        _ => &[],
    }
}

/// Refuses flags that `instruction` does not have, that lack a value or that stand twice.
pub(super) fn check(instruction: &str, flags: &[Flag]) -> Result<(), Diagnostic> {
    let known = known(instruction);
    for (index, flag) in flags.iter().enumerate() {
        let name = &flag.name;
        let Some((_, takes)) = known.iter().find(|(known, _)| known == name) else {
            let message = format!("unknown flag `--{name}` of {instruction}");
            let diagnostic = Diagnostic::new(message, flag.span);
            return Err(
                match suggest::nearest(name, known.iter().map(|(known, _)| *known)) {
                    Some(near) => diagnostic.with_label(format!("did you mean `--{near}`?")),
                    None => diagnostic,
                },
            );
        };
        let twice = flags
            .iter()
            .take(index)
            .any(|earlier| earlier.name == *name);
        if twice && *takes != Takes::Values {
            return Err(Diagnostic::new(
                format!("`--{name}` is given twice"),
                flag.span,
            ));
        }
        match (takes, &flag.value) {
            (Takes::Switch, Some(value)) if switch(value).is_none() => {
                let message = format!("`--{name}` is either true or false, not `{value}`");
                return Err(Diagnostic::new(message, flag.span));
            }
            (Takes::Value | Takes::Values, None) => {
                let message = format!("`--{name}` needs a value");
                let label = format!("expected `--{name}=…`");
                return Err(Diagnostic::new(message, flag.span).with_label(label));
            }
            (Takes::Switch | Takes::Value | Takes::Values, _) => {}
        }
    }
    Ok(())
}

fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Returns the value of a flag, unless it is empty, which means the same as none.
pub(super) fn value(flags: &[Flag], name: &str) -> Option<Word> {
    values(flags, name)
        .pop()
        .filter(|word| !word.text.is_empty())
}

/// Returns every value of a flag.
pub(super) fn values(flags: &[Flag], name: &str) -> Vec<Word> {
    let named = flags.iter().filter(|flag| flag.name == name);
    named
        .map(|flag| Word {
            text: flag.value.clone().unwrap_or_default(),
            span: flag.span,
        })
        .collect()
}

/// Returns what a switch says; `None` if it does not stand.
pub(super) fn is_set(flags: &[Flag], name: &str) -> Option<bool> {
    let flag = flags.iter().find(|flag| flag.name == name)?;
    Some(
        flag.value
            .as_deref()
            .is_none_or(|value| switch(value) == Some(true)),
    )
}
