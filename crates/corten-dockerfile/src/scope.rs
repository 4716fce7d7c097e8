//! What every stage of a plan knows: names of stages, build arguments, global arguments.

use std::collections::{BTreeMap, HashSet};

use crate::diagnostic::{Diagnostic, Span};
use crate::expand::{self, Expanded};
use crate::words::Word;

/// Where a stage begins, or where COPY takes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage, by its number in the Dockerfile, from 0.
    Stage(usize),
    /// An image or a named context.
    Image {
        /// The name as written, variables expanded, neither normalised nor checked.
        name: String,
        /// What it is wanted for.
        platform: crate::platform::Platform,
    },
}

/// Shared by the plan and the states of its stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) escape: char,
    pub(crate) build_args: BTreeMap<String, String>,
    pub(crate) global_args: Vec<(String, String)>,
    pub(crate) proxy_env: Vec<(String, String)>,
    pub(crate) platform: crate::platform::Platform,
    /// Names in lower case; of two stages with one name the later one.
    pub(crate) stage_names: BTreeMap<String, usize>,
    pub(crate) n_stages: usize,
}

impl Scope {
    /// Resolves the `--from` of a COPY in stage `current`.
    pub(crate) fn copy_from(&self, from: &Word, current: usize) -> Result<Base, Diagnostic> {
        let text = &from.text;
        let plain = expand::expand(text, &[], self.escape).is_ok_and(|e| e.text == *text);
        if !plain {
            return Err(
                Diagnostic::new("variables are not expanded in `--from`", from.span)
                    .with_hint("name a stage with `FROM $VARIABLE AS name` and copy from that"),
            );
        }
        let stage = match text.parse::<i64>() {
            Ok(number) => {
                let stage = usize::try_from(number)
                    .ok()
                    .filter(|stage| *stage < self.n_stages);
                Some(stage.ok_or_else(|| {
                    let message = format!("there is no stage number {number}");
                    let label = format!("the stages are 0 to {}", self.n_stages.saturating_sub(1));
                    Diagnostic::new(message, from.span).with_label(label)
                })?)
            }
            Err(_) => self.stage_names.get(&text.to_lowercase()).copied(),
        };
        self.source(text, stage, from.span, current)
    }

    /// Resolves the `from` of a mount in stage `current`. A number names no stage, unlike in COPY.
    pub(crate) fn mount_from(&self, from: &Word, current: usize) -> Result<Base, Diagnostic> {
        let stage = self.stage_names.get(&from.text.to_lowercase()).copied();
        self.source(&from.text, stage, from.span, current)
    }

    fn source(
        &self,
        text: &str,
        stage: Option<usize>,
        span: Span,
        current: usize,
    ) -> Result<Base, Diagnostic> {
        match stage {
            Some(stage) if stage < current => Ok(Base::Stage(stage)),
            Some(stage) if stage == current => {
                let message = "a stage cannot copy from itself";
                Err(Diagnostic::new(message, span))
            }
            Some(_) => {
                let message = format!("the stage `{text}` comes after this one");
                Err(Diagnostic::new(message, span).with_label("only earlier stages can be used"))
            }
            None if text == "scratch" => Ok(Base::Scratch),
            None => Ok(Base::Image {
                name: text.to_owned(),
                platform: self.platform.clone(),
            }),
        }
    }
}

/// Expands a word, with what is wrong shown at its place.
pub(crate) fn expand_word(
    word: &Word,
    env: &[(String, String)],
    escape: char,
) -> Result<Expanded, Diagnostic> {
    expand::expand(&word.text, env, escape).map_err(|error| refused(&error, word))
}

pub(crate) fn refused(error: &crate::error::Error, word: &Word) -> Diagnostic {
    use crate::error::Error;
    let message = match error {
        // The word itself is underlined.
        Error::Expansion { reason, .. } => reason.clone(),
        Error::Syntax { .. }
        | Error::IgnorePattern { .. }
        | Error::Pattern { .. }
        | Error::GitUrl { .. }
        | Error::Platform { .. } => error.to_string(),
    };
    Diagnostic::new(message, word.span)
}

/// Gives each name of `pairs` its value, one after the other as [`set`] does.
///
/// The time is linear in both: how many variables there are is for whoever made the base image to say.
pub(crate) fn set_all(env: &mut Vec<(String, String)>, pairs: &[(String, String)]) {
    let mut given = HashSet::new();
    let mut newest: Vec<_> = pairs
        .iter()
        .rev()
        .filter(|(name, _)| given.insert(name.as_str()))
        .cloned()
        .collect();
    newest.reverse();
    env.retain(|(name, _)| !given.contains(name.as_str()));
    env.append(&mut newest);
}

/// Gives `name` a value, as the newest of `env`.
pub(crate) fn set(env: &mut Vec<(String, String)>, name: &str, value: &str) {
    env.retain(|(key, _)| key != name);
    env.push((name.to_owned(), value.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        text.split_whitespace()
            .map(|word| word.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn many_values_at_once_are_as_one_after_the_other() {
        #[track_caller]
        fn check(env: &str, given: &str, expected: &str) {
            let mut at_once = pairs(env);
            set_all(&mut at_once, &pairs(given));
            let mut singly = pairs(env);
            for (name, value) in pairs(given) {
                set(&mut singly, &name, &value);
            }
            assert_eq!(at_once, pairs(expected), "{env:?} {given:?}");
            assert_eq!(at_once, singly, "{env:?} {given:?}");
        }

        check("", "", "");
        check("a=1 b=2", "", "a=1 b=2");
        check("a=1 b=2", "a=3", "b=2 a=3");
        check("", "a=1 b=2 a=3", "b=2 a=3");
        check("c=0 b=1", "a=1 b=2 a=3 d=", "c=0 b=2 a=3 d=");
    }
}
