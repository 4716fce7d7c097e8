//! COPY and ADD.

use super::flags;
use super::parse::Fields;
use crate::diagnostic::Diagnostic;
use crate::heredoc::{self, Heredoc};
use crate::words::Word;

/// COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Whether it is ADD: local archives are unpacked, and sources may be URLs.
    pub add: bool,
    /// `--from`: a stage by name or number, a named context or an image.
    pub from: Option<Word>,
    /// `--chown`.
    pub chown: Option<Word>,
    /// `--chmod`.
    pub chmod: Option<Word>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// Every `--exclude`.
    pub excludes: Vec<Word>,
    /// `--checksum`.
    pub checksum: Option<Word>,
    /// `--keep-git-dir`, if it stands.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`, if it stands.
    pub unpack: Option<bool>,
    /// At least one source, in the order of the text.
    pub sources: Vec<CopySource>,
    /// The last argument.
    pub dest: Word,
}

/// A source of COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// A path, a pattern or, for ADD, a URL.
    Path(Word),
    /// A here-document.
    Inline(Heredoc),
}

pub(super) fn parse(fields: &Fields<'_>, heredocs: &[Heredoc]) -> Result<Copy, Diagnostic> {
    let name = fields.name;
    let mut words = fields.list()?;
    let Some(dest) = words.pop().filter(|_| !words.is_empty()) else {
        let message = format!("{name} needs a source and a destination");
        return Err(Diagnostic::new(message, fields.span));
    };
    if heredoc::parse(&dest.text, dest.span).is_some() {
        let message = format!("the destination of {name} cannot be a here-document");
        return Err(Diagnostic::new(message, dest.span));
    }
    let flags = &fields.flags;
    Ok(Copy {
        add: name == "ADD",
        from: flags::value(flags, "from"),
        chown: flags::value(flags, "chown"),
        chmod: flags::value(flags, "chmod"),
        link: flags::is_set(flags, "link") == Some(true),
        parents: flags::is_set(flags, "parents") == Some(true),
        excludes: flags::values(flags, "exclude"),
        checksum: flags::value(flags, "checksum"),
        keep_git_dir: flags::is_set(flags, "keep-git-dir"),
        unpack: flags::is_set(flags, "unpack"),
        sources: words
            .into_iter()
            .map(|word| source(word, heredocs))
            .collect(),
        dest,
    })
}

fn source(word: Word, heredocs: &[Heredoc]) -> CopySource {
    let Some(named) = heredoc::parse(&word.text, word.span) else {
        return CopySource::Path(word);
    };
    // Of two with one name BuildKit takes the last body for both.
    let body = heredocs
        .iter()
        .rev()
        .find(|heredoc| heredoc.name == named.name);
    let content = body
        .map(|heredoc| heredoc.content.clone())
        .unwrap_or_default();
    CopySource::Inline(Heredoc { content, ..named })
}
