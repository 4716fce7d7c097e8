//! The arguments of ENV, LABEL, ARG and FROM.

use super::parse::Fields;
use super::{Arg, From, Pair, flags};
use crate::diagnostic::Diagnostic;
use crate::words::{self, Word};

/// Reads `KEY=value …`, or the old `KEY value to the end of the line`.
pub(super) fn pairs(fields: &Fields<'_>) -> Result<Vec<Pair>, Diagnostic> {
    let name = fields.name;
    let words = words::quoted(fields.text, fields.arguments.clone(), fields.escape());
    let Some((first, _)) = words.first() else {
        return Err(Diagnostic::new(
            format!("{name} needs at least one `NAME=value`"),
            fields.span,
        ));
    };
    if !first.contains('=') {
        let (key, value) = words::first(fields.text, fields.arguments.clone());
        if value.is_empty() {
            let label = format!("expected `{first}=value`");
            return Err(
                Diagnostic::new(format!("{name} needs a value"), fields.span_of(&key))
                    .with_label(label),
            );
        }
        return Ok(vec![Pair {
            key: fields.word(key),
            value: fields.word(value),
            legacy: true,
        }]);
    }
    words
        .into_iter()
        .map(|(word, range)| {
            let span = fields.span_of(&range);
            let Some((key, value)) = word.split_once('=') else {
                let label = "expected `NAME=value`; a value with blanks needs quotes";
                return Err(
                    Diagnostic::new(format!("`{word}` has no equals sign"), span).with_label(label),
                );
            };
            if key.is_empty() {
                return Err(Diagnostic::new(format!("{name} needs a name"), span));
            }
            let word = |text: &str| Word {
                text: text.to_owned(),
                span,
            };
            Ok(Pair {
                key: word(key),
                value: word(value),
                legacy: false,
            })
        })
        .collect()
}

pub(super) fn args(fields: &Fields<'_>) -> Result<Vec<Arg>, Diagnostic> {
    let words = words::quoted(fields.text, fields.arguments.clone(), fields.escape());
    if words.is_empty() {
        return Err(Diagnostic::new("ARG needs at least one name", fields.span));
    }
    words
        .into_iter()
        .map(|(word, range)| {
            let span = fields.span_of(&range);
            let (name, default) = match word.split_once('=') {
                Some((name, default)) => (name, Some(default)),
                None => (word.as_str(), None),
            };
            if name.is_empty() {
                return Err(Diagnostic::new("ARG needs a name", span));
            }
            let word = |text: &str| Word {
                text: text.to_owned(),
                span,
            };
            Ok(Arg {
                name: word(name),
                default: default.map(word),
            })
        })
        .collect()
}

pub(super) fn from(fields: &Fields<'_>) -> Result<From, Diagnostic> {
    let mut words = fields.words().into_iter();
    let (base, keyword, name) = match (words.next(), words.next(), words.next(), words.next()) {
        (Some(base), None, None, None) => (base, None, None),
        (Some(base), Some(keyword), Some(name), None)
            if keyword.text.eq_ignore_ascii_case("as") =>
        {
            let name = stage_name(&name)?;
            (base, Some(keyword), Some(name))
        }
        (None, ..) => {
            return Err(Diagnostic::new(
                "FROM needs an image or a stage",
                fields.span,
            ));
        }
        (Some(_), Some(keyword), ..) if !keyword.text.eq_ignore_ascii_case("as") => {
            let message = format!("unexpected `{}` after the image", keyword.text);
            return Err(Diagnostic::new(message, keyword.span).with_label("expected `AS name`"));
        }
        _ => {
            let message = "FROM takes an image, or an image and `AS name`";
            return Err(Diagnostic::new(message, fields.span));
        }
    };
    Ok(From {
        platform: flags::value(&fields.flags, "platform"),
        base,
        keyword,
        name,
    })
}

fn stage_name(word: &Word) -> Result<Word, Diagnostic> {
    let name = word.text.to_lowercase();
    let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
    if valid {
        return Ok(Word {
            text: name,
            span: word.span,
        });
    }
    let message = format!("`{}` cannot be the name of a stage", word.text);
    Err(Diagnostic::new(message, word.span)
        .with_label("a letter first, then letters, digits, `-`, `_` and `.`"))
}
