//! Parser directives: `# escape=`, `# syntax=`, `# check=`.

use crate::check::Check;
use crate::diagnostic::{Diagnostic, Span};

/// What the first comment lines of a Dockerfile ask of its parser.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directives {
    /// The value of `# syntax=`, a frontend image.
    pub syntax: Option<Directive<String>>,
    /// The value of `# escape=`: a backslash or a backtick.
    pub escape: Option<Directive<char>>,
    /// The value of `# check=`.
    pub check: Option<Directive<Check>>,
}

/// A directive's value and where the line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive<T> {
    /// What follows the equals sign.
    pub value: T,
    /// The whole comment.
    pub span: Span,
}

/// Reads directives until the first line that is none.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) directives: Directives,
    begun: bool,
    /// Behind `#!` the other directives count, but the escape character does not change.
    has_shebang: bool,
    done: bool,
}

impl Reader {
    /// Looks at one line without its leading blanks and line end; tells whether it is a directive.
    pub(crate) fn line(&mut self, line: &str, span: Span) -> Result<bool, Diagnostic> {
        if self.done {
            return Ok(false);
        }
        if !std::mem::replace(&mut self.begun, true) && line.starts_with("#!") {
            self.has_shebang = true;
            return Ok(false);
        }
        let Some((name, value)) = line.strip_prefix('#').and_then(split) else {
            self.done = true;
            return Ok(false);
        };
        match name.to_ascii_lowercase().as_str() {
            "syntax" => {
                once("syntax", self.directives.syntax.as_ref(), span)?;
                // BuildKit takes the first word as the image and hands the rest to it.
                let image = value.split(' ').next().unwrap_or(value);
                self.directives.syntax = Some(Directive {
                    value: image.to_owned(),
                    span,
                });
            }
            "escape" if self.has_shebang => {}
            "escape" => {
                once("escape", self.directives.escape.as_ref(), span)?;
                let escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    _ => {
                        let message = format!("`{value}` cannot be the escape character");
                        return Err(Diagnostic::new(message, span)
                            .with_label("expected a backslash or a backtick"));
                    }
                };
                self.directives.escape = Some(Directive {
                    value: escape,
                    span,
                });
            }
            "check" => {
                once("check", self.directives.check.as_ref(), span)?;
                // Behind a blank there may be a remark.
                let options = value.split(' ').next().unwrap_or(value);
                let check = Check::parse(options)
                    .map_err(|message| Diagnostic::new(message, span).with_label("in `check`"))?;
                self.directives.check = Some(Directive { value: check, span });
            }
            _ => self.done = true,
        }
        Ok(!self.done)
    }
}

/// Cuts `name = value`.
pub(crate) fn split(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim_start().split_once('=')?;
    let name = name.trim_end_matches(|c: char| c.is_ascii_whitespace());
    let value = value.trim_matches(|c: char| c.is_ascii_whitespace());
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric());
    (named && !value.is_empty()).then_some((name, value))
}

fn once<T>(name: &str, earlier: Option<&Directive<T>>, span: Span) -> Result<(), Diagnostic> {
    let Some(earlier) = earlier else {
        return Ok(());
    };
    let label = format!("the first is on line {}", earlier.span.line);
    Err(Diagnostic::new(format!("the `{name}` directive is given twice"), span).with_label(label))
}
