//! COPY and ADD.

use std::fmt::Write as _;

use super::{Names, Outcome, StageState};
use crate::diagnostic::Diagnostic;
use crate::expand::{Lex, Mode};
use crate::heredoc::Heredoc;
use crate::instruction::{Copy, CopySource};
use crate::path;
use crate::scope;
use crate::step::{Chmod, CopyStep, Source, Step};
use crate::unsupported;
use crate::words::Word;

pub(super) fn resolve(
    copy: &Copy,
    state: &StageState,
    names: &mut Names,
) -> Result<Outcome, Diagnostic> {
    // Writing to a string cannot fail.
    let mut created_by = if copy.add { "ADD" } else { "COPY" }.to_owned();
    let from = match &copy.from {
        Some(word) => Some(state.scope.copy_from(word, state.index)?),
        None => None,
    };
    if copy.parents {
        created_by.push_str(" --parents");
    }
    let chown = optional(copy.chown.as_ref(), state, names)?;
    if let Some(chown) = &chown {
        let _ = write!(created_by, " --chown={chown}");
    }
    let written = optional(copy.chmod.as_ref(), state, names)?;
    let chmod = match (&copy.chmod, &written) {
        (Some(word), Some(written)) => {
            let _ = write!(created_by, " --chmod={written}");
            Some(chmod(written, word)?)
        }
        _ => None,
    };
    let mut paths = Vec::new();
    let mut inline = Vec::new();
    let mut inline_names = String::new();
    for source in &copy.sources {
        match source {
            CopySource::Path(word) => {
                let written = names.expand(word, state)?;
                refuse_remote(&written, word, copy.add)?;
                let _ = write!(created_by, " {written}");
                paths.push(Source::Path(path::clean(&written)));
            }
            CopySource::Inline(heredoc) => {
                let _ = write!(inline_names, " <<{}", heredoc.name);
                let content = content(heredoc, state, names)?;
                inline.push(Source::Inline {
                    name: heredoc.name.clone(),
                    content,
                });
            }
        }
    }
    let dest = names.expand(&copy.dest, state)?;
    let _ = write!(created_by, "{inline_names} {dest} # buildkit");
    let step = CopyStep {
        from,
        sources: paths.into_iter().chain(inline).collect(),
        dest: path::join_destination(&state.workdir, &dest),
        chown,
        chmod,
        add: copy.add,
    };
    Ok((Step::Copy(Box::new(step)), Some(created_by)))
}

fn optional(
    word: Option<&Word>,
    state: &StageState,
    names: &mut Names,
) -> Result<Option<String>, Diagnostic> {
    let Some(word) = word else { return Ok(None) };
    Ok(Some(names.expand(word, state)?).filter(|text| !text.is_empty()))
}

fn refuse_remote(source: &str, word: &Word, add: bool) -> Result<(), Diagnostic> {
    match (unsupported::is_remote(source), add) {
        (false, _) => Ok(()),
        (true, true) => Err(unsupported::remote(word.span)),
        (true, false) => {
            Err(Diagnostic::new("COPY cannot fetch an address", word.span).with_label("ADD can"))
        }
    }
}

/// The text of a here-document: variables are expanded, quotes are plain text, and the escape is a
/// backslash whatever `# escape=` says.
fn content(heredoc: &Heredoc, state: &StageState, names: &mut Names) -> Result<String, Diagnostic> {
    let body = heredoc.body();
    if !heredoc.expand {
        return Ok(body);
    }
    let mode = Mode {
        plain_quotes: true,
        ..Mode::default()
    };
    let mut lex = Lex::new(&body, &state.env, &mode);
    let word = Word {
        text: String::new(),
        span: heredoc.span,
    };
    let (text, _) = lex
        .run(&body)
        .map_err(|error| scope::refused(&error, &word))?;
    names.used.extend(lex.used);
    names.unset.extend(lex.unset);
    Ok(text)
}

fn chmod(text: &str, word: &Word) -> Result<Chmod, Diagnostic> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let mode = u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o7777);
        return mode.map(Chmod::Octal).ok_or_else(|| {
            Diagnostic::new(
                format!("`{text}` is not an octal mode up to 7777"),
                word.span,
            )
        });
    }
    if text.split(',').all(is_clause) {
        return Ok(Chmod::Symbolic(text.to_owned()));
    }
    Err(
        Diagnostic::new(format!("`{text}` is not a mode"), word.span)
            .with_label("such as `755` or `u=rwX,go=rX`"),
    )
}

/// `[ugoa]*([-+=]([rwxXst]*|[ugo]))+`.
fn is_clause(clause: &str) -> bool {
    let mut rest = clause.trim_start_matches(['u', 'g', 'o', 'a']);
    if rest.is_empty() {
        return false;
    }
    while let Some(after) = rest.strip_prefix(['-', '+', '=']) {
        rest = after
            .strip_prefix(['u', 'g', 'o'])
            .unwrap_or_else(|| after.trim_start_matches(['r', 'w', 'x', 'X', 's', 't']));
    }
    rest.is_empty()
}
