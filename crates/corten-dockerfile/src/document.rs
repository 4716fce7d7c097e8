//! The whole Dockerfile: directives, global arguments, stages.

use crate::diagnostic::{Diagnostic, Span};
use crate::directive::{Directives, Reader};
use crate::error::Error;
use crate::heredoc::{self, Heredoc};
use crate::instruction::{self, Context, From, Instruction, Kind};
use crate::lexer::{self, Logical, Source};
use crate::syntax::{self, Grammar};

/// A parsed Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// What its first comment lines ask for.
    pub directives: Directives,
    /// The character that escapes and continues lines: a backslash unless `# escape=` says otherwise.
    pub escape: char,
    /// The ARG instructions before the first FROM.
    pub global_args: Vec<Instruction>,
    /// At least one stage.
    pub stages: Vec<Stage>,
    /// What is worth saying though it is no error.
    pub notes: Vec<Diagnostic>,
    /// The last lines of the instructions that have an empty line inside.
    pub(crate) interrupted: Vec<Span>,
}

/// A FROM and the instructions that follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What FROM says.
    pub from: From,
    /// Where FROM is.
    pub span: Span,
    /// The number of its last line.
    pub last_line: usize,
    /// FROM as written, with its continuations joined.
    pub original: String,
    /// The comments right above it, without their number signs.
    pub comments: Vec<String>,
    /// What follows, FROM not included.
    pub instructions: Vec<Instruction>,
}

/// Parses the text of a Dockerfile.
///
/// Instructions inside ONBUILD are checked too, though BuildKit leaves them for the build they
/// trigger in.
///
/// # Errors
///
/// [`Error::Syntax`] with every place that breaks the grammar. A directive that cannot be honoured
/// ends the reading at once, since it may change what the rest means.
///
/// # Examples
///
/// ```
/// use corten_dockerfile::{Error, parse, render};
///
/// let text = "FROM debian\nRNU apt-get update\n";
/// let Err(Error::Syntax { diagnostics }) = parse(text) else { panic!() };
/// assert_eq!(
///     render(&diagnostics[0], "Dockerfile", text),
///     "error: unknown instruction `RNU`
///  --> Dockerfile:2:1
///   |
/// 2 | RNU apt-get update
///   | ^^^ did you mean `RUN`?"
/// );
/// ```
pub fn parse(text: &str) -> Result<Dockerfile, Error> {
    let (dockerfile, diagnostics) = parse_partly(text);
    if diagnostics.is_empty() {
        Ok(dockerfile)
    } else {
        Err(Error::Syntax { diagnostics })
    }
}

/// Reads as much as can be understood, and what cannot.
pub(crate) fn parse_partly(text: &str) -> (Dockerfile, Vec<Diagnostic>) {
    let mut parser = Parser::new();
    let mut source = Source::new(text);
    if let Err(diagnostic) = parser.read(&mut source) {
        return (parser.dockerfile, vec![diagnostic]);
    }
    if parser.dockerfile.stages.is_empty() && parser.errors.is_empty() {
        let message = if parser.dockerfile.global_args.is_empty() {
            "the Dockerfile has no instructions"
        } else {
            "the Dockerfile has no FROM"
        };
        parser
            .errors
            .push(Diagnostic::new(message, source.end_span()));
    }
    (parser.dockerfile, parser.errors)
}

/// Parses what an image's config keeps of an ONBUILD; every span is `from`.
pub(crate) fn parse_trigger(text: &str, from: Span) -> Result<Vec<Instruction>, Error> {
    let mut parser = Parser::new();
    parser.trigger_of = Some(from);
    let mut source = Source::new(text);
    if let Err(diagnostic) = parser.read(&mut source) {
        return Err(Error::Syntax {
            diagnostics: vec![diagnostic],
        });
    }
    if parser.errors.is_empty() {
        Ok(parser.triggers)
    } else {
        Err(Error::Syntax {
            diagnostics: parser.errors,
        })
    }
}

struct Parser {
    reader: Reader,
    dockerfile: Dockerfile,
    errors: Vec<Diagnostic>,
    /// Whether a stage has begun, or failed to: what follows then is not misplaced.
    in_stage: bool,
    /// For triggers: the FROM that stands for their places, and what was read.
    trigger_of: Option<Span>,
    triggers: Vec<Instruction>,
    /// The comments since the last instruction.
    comments: Vec<String>,
}

impl Parser {
    fn new() -> Self {
        let dockerfile = Dockerfile {
            directives: Directives::default(),
            escape: '\\',
            global_args: Vec::new(),
            stages: Vec::new(),
            notes: Vec::new(),
            interrupted: Vec::new(),
        };
        Self {
            reader: Reader::default(),
            dockerfile,
            errors: Vec::new(),
            in_stage: false,
            trigger_of: None,
            triggers: Vec::new(),
            comments: Vec::new(),
        }
    }

    fn read(&mut self, source: &mut Source<'_>) -> Result<(), Diagnostic> {
        if let Some(span) = source.too_long() {
            return Err(Diagnostic::new("the line is longer than 65535 bytes", span));
        }
        while let Some((offset, line)) = source.next_line() {
            let line = line.trim_end_matches(['\r', '\n']);
            let text = line.trim_start();
            let offset = offset + line.len() - text.len();
            let is_directive = self
                .reader
                .line(text, source.span(offset..offset + text.len()))?;
            if lexer::is_comment(text) && !is_directive {
                self.comment(line);
            }
            self.dockerfile.escape = self
                .reader
                .directives
                .escape
                .as_ref()
                .map_or('\\', |escape| escape.value);
            if text.is_empty() || lexer::is_comment(text) {
                continue;
            }
            let logical = source.join(offset, text, self.dockerfile.escape);
            if let Err(diagnostic) = self.instruction(source, &logical) {
                self.errors.push(diagnostic);
            }
        }
        self.dockerfile.directives = std::mem::take(&mut self.reader.directives);
        let Some(asked) = &self.dockerfile.directives.syntax else {
            return Ok(());
        };
        match syntax::grammar(&asked.value) {
            Grammar::Close(note) => {
                let note = Diagnostic::new(note, asked.span);
                self.dockerfile.notes.push(note);
            }
            // What is no Dockerfile has one fault, not as many as it has lines. Otherwise the plan
            // decides: a build argument may choose the grammar.
            Grammar::Foreign if !self.errors.is_empty() => {
                self.errors = vec![syntax::refused(&asked.value, asked.span)];
            }
            Grammar::BuiltIn | Grammar::Foreign => {}
        }
        Ok(())
    }

    /// Keeps a comment for the instruction below; an empty one cuts off those above.
    ///
    /// Of an indented one BuildKit takes a blank for the number sign, and keeps the sign.
    fn comment(&mut self, line: &str) {
        let mut chars = line.chars();
        chars.next();
        match chars.as_str().trim() {
            "" => self.comments.clear(),
            comment => self.comments.push(comment.to_owned()),
        }
    }

    fn instruction(
        &mut self,
        source: &mut Source<'_>,
        logical: &Logical,
    ) -> Result<(), Diagnostic> {
        if logical.has_empty_line {
            self.dockerfile.interrupted.push(source.last_span());
        }
        let comments = std::mem::take(&mut self.comments);
        let escape = self.dockerfile.escape;
        let range = 0..logical.text.len();
        let whole = source.span(logical.source_range(&range));
        let heredocs = read_heredocs(source, logical, escape, whole)?;
        let context = Context {
            source,
            logical,
            escape,
            trigger_of: self.trigger_of,
            last_line: self.trigger_of.map_or(source.position(), |from| from.line),
            comments: &comments,
        };
        let instruction = instruction::parse(context, range, &heredocs);
        if logical
            .text
            .trim_start()
            .get(..4)
            .is_some_and(|w| w.eq_ignore_ascii_case("FROM"))
        {
            self.in_stage = true;
        }
        let instruction = instruction?;
        if self.trigger_of.is_some() {
            self.triggers.push(instruction);
            return Ok(());
        }
        self.place(instruction)
    }

    fn place(&mut self, instruction: Instruction) -> Result<(), Diagnostic> {
        match (self.dockerfile.stages.last_mut(), instruction.kind) {
            (_, Kind::From(from)) => {
                let span = instruction.span;
                self.dockerfile.stages.push(Stage {
                    from,
                    span,
                    last_line: instruction.last_line,
                    original: instruction.original,
                    comments: instruction.comments,
                    instructions: Vec::new(),
                });
            }
            (Some(stage), kind) => stage.instructions.push(Instruction {
                kind,
                ..instruction
            }),
            (None, kind @ Kind::Arg(_)) if !self.in_stage => {
                self.dockerfile.global_args.push(Instruction {
                    kind,
                    ..instruction
                });
            }
            // The FROM above is in error itself.
            (None, _) if self.in_stage => {}
            (None, _) => {
                let message = format!("{} before the first FROM", instruction.name);
                return Err(Diagnostic::new(message, instruction.keyword)
                    .with_label("only ARG may stand here"));
            }
        }
        Ok(())
    }
}

/// Reads the bodies of the here-documents that a joined line opens.
fn read_heredocs(
    source: &mut Source<'_>,
    logical: &Logical,
    escape: char,
    span: Span,
) -> Result<Vec<Heredoc>, Diagnostic> {
    if !instruction::opens_heredocs(logical, escape) {
        return Ok(Vec::new());
    }
    let mut heredocs = heredoc::opened(&logical.text, span);
    let start = source.position();
    for heredoc in &mut heredocs {
        loop {
            let Some((_, line)) = source.next_line() else {
                // An unknown instruction is reported as such, and what follows is read as usual.
                source.rewind(start);
                let word = logical.text.split_whitespace().next().unwrap_or_default();
                if instruction::name_of(word).is_none() {
                    return Ok(Vec::new());
                }
                // The rest of the text is the body: it would give errors of its own.
                while source.next_line().is_some() {}
                let message = format!("the here-document `{}` has no end", heredoc.name);
                let label = format!("expected a line with `{}` alone", heredoc.name);
                return Err(Diagnostic::new(message, span).with_label(label));
            };
            if heredoc.ends_with(line) {
                break;
            }
            heredoc.content.push_str(line);
        }
    }
    Ok(heredocs)
}
