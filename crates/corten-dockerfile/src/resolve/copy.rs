//! COPY and ADD.

use std::fmt::Write as _;

use super::{Names, Outcome, StageState};
use crate::address::{self, Kind, address_without_credentials};
use crate::diagnostic::Diagnostic;
use crate::expand::{Lex, Mode};
use crate::git_url::GitUrl;
use crate::heredoc::Heredoc;
use crate::ignore::Ignore;
use crate::instruction::{Copy, CopySource};
use crate::path;
use crate::scope;
use crate::step::{Address, Chmod, CopyStep, GitSource, HttpSource, Source, Step};
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
    if let (true, Some(chown), Some(word)) = (copy.link, &chown, &copy.chown)
        && !is_numeric(chown)
    {
        let message = format!("`--chown={chown}` names a user, and `--link` knows no users");
        return Err(Diagnostic::new(message, word.span)
            .with_label("the layer is made without the image beneath: use numbers"));
    }
    let excludes = excludes(copy)?;
    let checksum = optional(copy.checksum.as_ref(), state, names)?;
    let flags = Flags {
        copy,
        checksum: copy.checksum.as_ref().zip(checksum),
    };
    let mut paths = Vec::new();
    let mut inline = Vec::new();
    let mut inline_names = String::new();
    for source in &copy.sources {
        match source {
            CopySource::Path(word) => {
                let written = names.expand(word, state)?;
                let _ = write!(created_by, " {}", address_without_credentials(&written));
                paths.push(flags.source(&written, word)?);
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
    flags.check_checksum(&paths, inline.len())?;
    let dest = names.expand(&copy.dest, state)?;
    let _ = write!(created_by, "{inline_names} {dest} # buildkit");
    let step = CopyStep {
        from,
        sources: paths.into_iter().chain(inline).collect(),
        dest: path::join_destination(&state.workdir, &dest),
        chown,
        unpack_paths: copy.unpack.unwrap_or(copy.add),
        unpack_addresses: copy.unpack == Some(true),
        // BuildKit links only without `--chmod`; with it, the files are copied as ever.
        link: copy.link && chmod.is_none(),
        chmod,
        excludes,
    };
    Ok((Step::Copy(Box::new(step)), Some(created_by)))
}

/// The flags that decide what a source is.
struct Flags<'a> {
    copy: &'a Copy,
    /// `--checksum`, as written and expanded.
    checksum: Option<(&'a Word, String)>,
}

impl Flags<'_> {
    fn source(&self, written: &str, word: &Word) -> Result<Source, Diagnostic> {
        let kind = address::kind(written, word)?;
        if !self.copy.add && kind != Kind::Path {
            let message = "COPY cannot fetch an address";
            return Err(Diagnostic::new(message, word.span).with_label("ADD can"));
        }
        Ok(match kind {
            Kind::Path if self.copy.parents => parents(written),
            Kind::Path => Source::Path(path::clean(written)),
            Kind::Http => Source::Http(Box::new(HttpSource {
                url: Address::new(written),
                name: address::file_name(written),
                checksum: self.sha256()?,
            })),
            Kind::Git(url) => Source::Git(Box::new(GitSource {
                url: self.with_flags(*url, word)?,
            })),
        })
    }

    fn sha256(&self) -> Result<Option<String>, Diagnostic> {
        let Some((word, checksum)) = &self.checksum else {
            return Ok(None);
        };
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match checksum.strip_prefix("sha256:") {
            Some(digits) if digits.len() == 64 && digits.bytes().all(is_hex) => {
                Ok(Some(digits.to_owned()))
            }
            _ => Err(
                Diagnostic::new(format!("`{checksum}` is not a checksum"), word.span)
                    .with_label("expected `sha256:` and 64 hexadecimal digits in lower case"),
            ),
        }
    }

    fn with_flags(&self, mut url: GitUrl, word: &Word) -> Result<GitUrl, Diagnostic> {
        if let Some((at, checksum)) = &self.checksum {
            let is_other = |other: &String| !other.eq_ignore_ascii_case(checksum);
            if url.checksum.as_ref().is_some_and(is_other) {
                let message = "`--checksum` and the address name different commits";
                return Err(Diagnostic::new(message, at.span));
            }
            if checksum.is_empty() || !checksum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let message = format!("`{checksum}` is not a commit");
                return Err(
                    Diagnostic::new(message, at.span).with_label("expected hexadecimal digits")
                );
            }
            url.checksum = Some(checksum.to_ascii_lowercase());
        }
        match (self.copy.keep_git_dir, url.keep_git_dir) {
            (Some(flag), Some(query)) if flag != query => {
                let message = "`--keep-git-dir` and the address do not agree";
                return Err(Diagnostic::new(message, word.span));
            }
            (Some(flag), _) => url.keep_git_dir = Some(flag),
            (None, _) => {}
        }
        Ok(url)
    }

    fn check_checksum(&self, paths: &[Source], n_inline: usize) -> Result<(), Diagnostic> {
        let Some((word, _)) = &self.checksum else {
            return Ok(());
        };
        match paths {
            [Source::Http(_) | Source::Git(_)] if n_inline == 0 => Ok(()),
            [_] if n_inline == 0 => Err(Diagnostic::new(
                "`--checksum` is for files that are fetched over HTTP or with git",
                word.span,
            )),
            _ => Err(Diagnostic::new(
                "`--checksum` needs exactly one source",
                word.span,
            )),
        }
    }
}

/// What `--parents` takes: all of the path, or what is behind the first `/./`.
fn parents(written: &str) -> Source {
    let (pivot, pattern) = written.split_once("/./").unwrap_or(("", written));
    let pattern = path::clean(pattern).trim_start_matches('/').to_owned();
    Source::Parents {
        required: !has_wildcard(pivot) && !has_wildcard(&pattern),
        pivot: path::clean(pivot),
        pattern,
    }
}

/// As BuildKit looks for them: what a backslash stands before is none.
fn has_wildcard(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return true,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    false
}

fn is_numeric(chown: &str) -> bool {
    let is_number = |text: &str| text.is_empty() || text.parse::<u32>().is_ok();
    chown.split(':').all(is_number)
}

/// Patterns are taken as they are written: BuildKit expands no variable in them.
fn excludes(copy: &Copy) -> Result<Vec<String>, Diagnostic> {
    let mut excludes = Vec::new();
    for word in &copy.excludes {
        Ignore::of_patterns([word.text.as_str()])
            .map_err(|error| Diagnostic::new(error.to_string(), word.span))?;
        excludes.push(word.text.clone());
    }
    Ok(excludes)
}

fn optional(
    word: Option<&Word>,
    state: &StageState,
    names: &mut Names,
) -> Result<Option<String>, Diagnostic> {
    let Some(word) = word else { return Ok(None) };
    Ok(Some(names.expand(word, state)?).filter(|text| !text.is_empty()))
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

/// `[ugoa]*([-+=][rwxXstugo]*)+`.
fn is_clause(clause: &str) -> bool {
    let mut rest = clause.trim_start_matches(['u', 'g', 'o', 'a']);
    if rest.is_empty() {
        return false;
    }
    while let Some(after) = rest.strip_prefix(['-', '+', '=']) {
        rest = after.trim_start_matches(['r', 'w', 'x', 'X', 's', 't', 'u', 'g', 'o']);
    }
    rest.is_empty()
}
