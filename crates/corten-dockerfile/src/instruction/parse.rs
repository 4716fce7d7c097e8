//! From an instruction's text to its node.

use std::ops::Range;

use super::{
    Command, Copy, Healthcheck, Instruction, Kind, OnBuild, Origin, Run, arguments, copy, flags,
    healthcheck, run,
};
use crate::diagnostic::{Diagnostic, Span};
use crate::heredoc::Heredoc;
use crate::json::{self, Array};
use crate::lexer::{Logical, Source};
use crate::suggest;
use crate::words::{self, Flag, Word};

const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// A joined line and what is needed to read it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) source: &'a Source<'a>,
    pub(crate) logical: &'a Logical,
    pub(crate) escape: char,
    /// For a trigger of a base image: the place that stands for all of its places.
    pub(crate) trigger_of: Option<Span>,
    /// The number of the last line, here-documents included.
    pub(crate) last_line: usize,
    /// The comments right above.
    pub(crate) comments: &'a [String],
}

/// An instruction cut into name, flags and arguments.
pub(super) struct Fields<'a> {
    context: Context<'a>,
    pub(super) name: &'static str,
    pub(super) text: &'a str,
    pub(super) span: Span,
    pub(super) flags: Vec<Flag>,
    pub(super) arguments: Range<usize>,
}

/// Returns the name of the instruction in a joined line, in capitals, if there is such a one.
pub(crate) fn name_of(word: &str) -> Option<&'static str> {
    NAMES
        .into_iter()
        .find(|name| name.eq_ignore_ascii_case(word))
}

/// Tells whether the instruction in a joined line may open here-documents.
///
/// The exec form cannot. An unknown instruction may: it is an error anyway, and its body, were it
/// read as instructions, would only add more.
pub(crate) fn opens_heredocs(logical: &Logical, escape: char) -> bool {
    let text = logical.text.as_str();
    let (mut keyword, mut rest) = words::first(text, 0..text.len());
    if text
        .get(keyword.clone())
        .is_some_and(|word| word.eq_ignore_ascii_case("ONBUILD"))
    {
        let (_, inner) = words::flags(text, rest, escape);
        (keyword, rest) = words::first(text, inner);
    }
    let name = name_of(text.get(keyword).unwrap_or_default());
    if !matches!(name, None | Some("RUN" | "COPY" | "ADD")) || !text.contains("<<") {
        return false;
    }
    let (_, arguments) = words::flags(text, rest, escape);
    !matches!(
        json::array(
            text.get(words::trimmed(text, arguments))
                .unwrap_or_default()
        ),
        Array::Strings(_)
    )
}

/// Reads the instruction in `range` of a joined line.
pub(crate) fn parse(
    context: Context<'_>,
    range: Range<usize>,
    heredocs: &[Heredoc],
) -> Result<Instruction, Diagnostic> {
    let fields = Fields::cut(context, range)?;
    flags::check(fields.name, &fields.flags)?;
    let kind = match fields.name {
        "ADD" | "COPY" => Kind::Copy(Box::<Copy>::new(copy::parse(&fields, heredocs)?)),
        "ARG" => Kind::Arg(arguments::args(&fields)?),
        "CMD" => Kind::Cmd(fields.command()?),
        "ENTRYPOINT" => Kind::Entrypoint(fields.command()?),
        "ENV" => Kind::Env(arguments::pairs(&fields)?),
        "EXPOSE" => Kind::Expose(fields.some(fields.words())?),
        "FROM" => Kind::From(arguments::from(&fields)?),
        "HEALTHCHECK" => Kind::Healthcheck(Box::<Healthcheck>::new(healthcheck::parse(&fields)?)),
        "LABEL" => Kind::Label(arguments::pairs(&fields)?),
        "MAINTAINER" => Kind::Maintainer(fields.one()?),
        "ONBUILD" => Kind::OnBuild(on_build(context, &fields, heredocs)?),
        "RUN" => Kind::Run(Box::<Run>::new(run::parse(&fields, heredocs)?)),
        "SHELL" => Kind::Shell(shell(&fields)?),
        "STOPSIGNAL" => Kind::StopSignal(fields.one()?),
        "USER" => Kind::User(fields.one()?),
        "VOLUME" => Kind::Volume(volume(&fields)?),
        _ => Kind::Workdir(fields.one()?),
    };
    let Fields {
        name,
        text,
        span,
        flags,
        ..
    } = fields;
    let keyword = Span {
        end: span.start + name.len(),
        ..span
    };
    let origin = if context.trigger_of.is_some() {
        Origin::OnBuild
    } else {
        Origin::File
    };
    let original = text.trim().to_owned();
    Ok(Instruction {
        name,
        keyword,
        span,
        last_line: context.last_line,
        comments: context.comments.to_vec(),
        flags,
        original,
        origin,
        kind,
    })
}

fn shell(fields: &Fields<'_>) -> Result<Vec<Word>, Diagnostic> {
    match fields.command()? {
        Command::Exec(words) if !words.is_empty() => Ok(words),
        Command::Exec(_) | Command::Shell(_) => Err(Diagnostic::new(
            "SHELL needs a JSON array of strings",
            fields.span,
        )
        .with_label("such as `SHELL [\"/bin/bash\", \"-c\"]`")),
    }
}

fn volume(fields: &Fields<'_>) -> Result<Vec<Word>, Diagnostic> {
    let mut words = fields.some(fields.list()?)?;
    for word in &mut words {
        word.text = word.text.trim().to_owned();
        if word.text.is_empty() {
            return Err(Diagnostic::new("a volume needs a path", word.span));
        }
    }
    Ok(words)
}

fn on_build(
    context: Context<'_>,
    fields: &Fields<'_>,
    heredocs: &[Heredoc],
) -> Result<OnBuild, Diagnostic> {
    let (keyword, _) = words::first(fields.text, fields.arguments.clone());
    let span = fields.span_of(&keyword);
    match fields
        .text
        .get(keyword)
        .unwrap_or_default()
        .to_uppercase()
        .as_str()
    {
        "" => return Err(Diagnostic::new("ONBUILD needs an instruction", fields.span)),
        name @ ("ONBUILD" | "FROM" | "MAINTAINER") => {
            return Err(Diagnostic::new(
                format!("{name} cannot be an ONBUILD trigger"),
                span,
            ));
        }
        _ => {}
    }
    let trigger = parse(context, fields.arguments.clone(), heredocs)?;
    // Up to the very end, blanks included: so BuildKit keeps it.
    let (keyword, _) = words::first(fields.text, 0..fields.text.len());
    let rest = fields.text.get(keyword.end..).unwrap_or_default();
    let mut expression = rest.trim_start().to_owned();
    for heredoc in heredocs {
        expression.push('\n');
        expression.push_str(&heredoc.content);
        expression.push_str(&heredoc.name);
    }
    Ok(OnBuild {
        expression,
        trigger: Box::new(trigger),
    })
}

impl<'a> Fields<'a> {
    fn cut(context: Context<'a>, range: Range<usize>) -> Result<Self, Diagnostic> {
        let text = context.logical.text.as_str();
        let range = words::trimmed(text, range);
        let (keyword, rest) = words::first(text, range.clone());
        let word = text.get(keyword.clone()).unwrap_or_default();
        let Some(name) = name_of(word) else {
            let diagnostic = Diagnostic::new(
                format!("unknown instruction `{word}`"),
                span_of(context, &keyword),
            );
            return Err(match suggest::nearest(word, NAMES) {
                Some(near) => diagnostic.with_label(format!("did you mean `{near}`?")),
                None => diagnostic,
            });
        };
        let (flags, arguments) = words::flags(text, rest, context.escape);
        let flags = flags.into_iter().map(|(word, range)| {
            let word = word.strip_prefix("--").unwrap_or(&word);
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word, None),
            };
            Flag {
                name: name.to_owned(),
                value,
                span: span_of(context, &range),
            }
        });
        let flags = flags.collect();
        let arguments = words::trimmed(text, arguments);
        Ok(Self {
            context,
            name,
            text,
            span: span_of(context, &range),
            flags,
            arguments,
        })
    }

    pub(super) fn escape(&self) -> char {
        self.context.escape
    }

    pub(super) fn span_of(&self, range: &Range<usize>) -> Span {
        span_of(self.context, range)
    }

    pub(super) fn word(&self, range: Range<usize>) -> Word {
        let span = self.span_of(&range);
        Word {
            text: self.text.get(range).unwrap_or_default().to_owned(),
            span,
        }
    }

    /// The arguments, cut at blanks.
    pub(super) fn words(&self) -> Vec<Word> {
        let ranges = words::by_blanks(self.text, self.arguments.clone());
        ranges.into_iter().map(|range| self.word(range)).collect()
    }

    /// The arguments as a JSON array if they are one, else cut at blanks.
    pub(super) fn list(&self) -> Result<Vec<Word>, Diagnostic> {
        Ok(self
            .array(self.arguments.clone())?
            .unwrap_or_else(|| self.words()))
    }

    /// The arguments as a command in one of its forms.
    pub(super) fn command(&self) -> Result<Command, Diagnostic> {
        self.command_of(self.arguments.clone())
    }

    pub(super) fn command_of(&self, range: Range<usize>) -> Result<Command, Diagnostic> {
        let words = self.array(range.clone())?;
        Ok(words.map_or_else(|| Command::Shell(self.word(range)), Command::Exec))
    }

    fn array(&self, range: Range<usize>) -> Result<Option<Vec<Word>>, Diagnostic> {
        let within =
            |part: Range<usize>| self.span_of(&(range.start + part.start..range.start + part.end));
        match json::array(self.text.get(range.clone()).unwrap_or_default()) {
            Array::Not => Ok(None),
            Array::Mixed(part) => {
                let message = "the exec form takes strings only";
                Err(Diagnostic::new(message, within(part)).with_label("put it in double quotes"))
            }
            Array::Strings(strings) => {
                let words = strings.into_iter();
                Ok(Some(
                    words
                        .map(|(text, part)| Word {
                            text,
                            span: within(part),
                        })
                        .collect(),
                ))
            }
        }
    }

    /// The whole text as the only argument.
    fn one(&self) -> Result<Word, Diagnostic> {
        if self.arguments.is_empty() {
            let message = format!("{} needs an argument", self.name);
            return Err(Diagnostic::new(message, self.span));
        }
        Ok(self.word(self.arguments.clone()))
    }

    fn some(&self, words: Vec<Word>) -> Result<Vec<Word>, Diagnostic> {
        if words.is_empty() {
            let message = format!("{} needs at least one argument", self.name);
            return Err(Diagnostic::new(message, self.span));
        }
        Ok(words)
    }
}

fn span_of(context: Context<'_>, range: &Range<usize>) -> Span {
    context
        .trigger_of
        .unwrap_or_else(|| context.source.span(context.logical.source_range(range)))
}
