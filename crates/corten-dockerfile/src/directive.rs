//! Parser directives: `# escape=`, `# syntax=`, `# check=`.

use crate::diagnostic::{Diagnostic, Span};
use crate::suggest;

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

/// The options of `# check=skip=A,B;error=true;experimental=C`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Check {
    /// Names of rules that are not applied; `all` for every one.
    pub skip: Vec<String>,
    /// Names of experimental rules that are applied; `all` for every one.
    pub experimental: Vec<String>,
    /// Whether a finding fails the build.
    pub error: bool,
}

/// Reads directives until the first line that is none.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) directives: Directives,
    done: bool,
}

impl Reader {
    /// Looks at one line without its leading blanks and line end.
    pub(crate) fn line(&mut self, line: &str, span: Span) -> Result<(), Diagnostic> {
        if self.done {
            return Ok(());
        }
        let Some((name, value)) = split(line) else {
            self.done = true;
            return Ok(());
        };
        match name.to_ascii_lowercase().as_str() {
            "syntax" => {
                once("syntax", self.directives.syntax.as_ref(), span)?;
                // BuildKit takes the first word as the image and hands the rest to it.
                let image = value.split(' ').next().unwrap_or(value);
                known_syntax(image, span)?;
                self.directives.syntax = Some(Directive {
                    value: image.to_owned(),
                    span,
                });
            }
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
                let value = check(value, span)?;
                self.directives.check = Some(Directive { value, span });
            }
            _ => self.done = true,
        }
        Ok(())
    }
}

/// Cuts `# name = value`.
fn split(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('#')?.trim_start().split_once('=')?;
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

/// Accepts the images whose grammar is the built-in one.
///
/// BuildKit would pull and run the image. There is nothing here to run it with, so a grammar that is
/// not known to be ours is refused, never guessed.
fn known_syntax(image: &str, span: Span) -> Result<(), Diagnostic> {
    let short = image.strip_prefix("docker.io/").unwrap_or(image);
    let name = short.split('@').next().unwrap_or(short);
    let known = match name.strip_prefix("docker/dockerfile") {
        Some("" | ":latest" | ":1") => true,
        Some(tag) => tag.strip_prefix(":1.").is_some_and(|rest| {
            rest.split('.').count() <= 2
                && rest
                    .split('.')
                    .all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        }),
        None => false,
    };
    if known {
        return Ok(());
    }
    Err(Diagnostic::new(
        format!("the Dockerfile syntax `{image}` is not supported"),
        span,
    )
    .with_hint("the built-in grammar is that of `docker/dockerfile:1`; remove the line or name it"))
}

fn check(value: &str, span: Span) -> Result<Check, Diagnostic> {
    let mut check = Check::default();
    let rules = |list: &str| -> Vec<String> {
        list.split(',')
            .map(|rule| rule.trim().to_owned())
            .filter(|rule| !rule.is_empty())
            .collect()
    };
    for option in value
        .split(';')
        .map(str::trim)
        .filter(|option| !option.is_empty())
    {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match (name.trim(), value.trim()) {
            ("skip", list) => check.skip = rules(list),
            ("experimental", list) => check.experimental = rules(list),
            ("error", "true" | "1" | "t" | "T" | "TRUE" | "True") => check.error = true,
            ("error", "false" | "0" | "f" | "F" | "FALSE" | "False") => check.error = false,
            ("error", other) => {
                let message = format!("`{other}` is neither true nor false");
                return Err(Diagnostic::new(message, span).with_label("in `error`"));
            }
            (unknown, _) => {
                let diagnostic = Diagnostic::new(format!("unknown check option `{unknown}`"), span);
                return Err(
                    match suggest::nearest(unknown, ["skip", "error", "experimental"]) {
                        Some(near) => diagnostic.with_label(format!("did you mean `{near}`?")),
                        None => diagnostic,
                    },
                );
            }
        }
    }
    Ok(check)
}
