//! The syntax tree: what each instruction says, before any variable has a value.

mod arguments;
mod copy;
mod flags;
mod healthcheck;
mod mount;
mod parse;
mod run;

pub use copy::{Copy, CopySource};
pub use healthcheck::{Healthcheck, HealthcheckTest};
pub use mount::Sharing;
pub use run::{Mount, Network, Run, Security};

pub(crate) use mount::{MountOptions, MountType, read as read_mount};
pub(crate) use parse::{Context, name_of, opens_heredocs, parse};

use crate::diagnostic::Span;
use crate::words::{Flag, Word};

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Its name in capitals.
    pub name: &'static str,
    /// Where the name is.
    pub keyword: Span,
    /// From the name to the last argument; here-documents are not included.
    pub span: Span,
    /// The number of its last line, with its here-documents.
    pub last_line: usize,
    /// The comments right above it, without their number signs.
    pub comments: Vec<String>,
    /// The flags as written.
    pub flags: Vec<Flag>,
    /// The text with its continuations joined.
    pub original: String,
    /// Where it comes from.
    pub origin: Origin,
    /// What it says.
    pub kind: Kind,
}

/// Where an instruction comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The Dockerfile itself.
    File,
    /// A trigger of the base image; spans then are those of the FROM that brought it in.
    OnBuild,
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Declares variables, with or without a default.
    Arg(Vec<Arg>),
    /// Sets the default command.
    Cmd(Command),
    /// Copies files, or with [`Copy::add`] set, unpacks archives too.
    Copy(Box<Copy>),
    /// Sets the command that the default command is an argument of.
    Entrypoint(Command),
    /// Sets environment variables.
    Env(Vec<Pair>),
    /// Names ports.
    Expose(Vec<Word>),
    /// Begins a stage.
    From(From),
    /// Sets or removes the health check.
    Healthcheck(Box<Healthcheck>),
    /// Sets labels.
    Label(Vec<Pair>),
    /// Names the author.
    Maintainer(Word),
    /// Keeps an instruction for images built on this one.
    OnBuild(OnBuild),
    /// Runs a command.
    Run(Box<Run>),
    /// Sets the shell of the shell form.
    Shell(Vec<Word>),
    /// Sets the signal that stops a container.
    StopSignal(Word),
    /// Sets the user of what follows.
    User(Word),
    /// Names directories that hold data.
    Volume(Vec<Word>),
    /// Sets the working directory of what follows.
    Workdir(Word),
}

/// FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// `--platform`.
    pub platform: Option<Word>,
    /// The image or stage.
    pub base: Word,
    /// AS, as written.
    pub keyword: Option<Word>,
    /// The name after AS, in lower case.
    pub name: Option<Word>,
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A JSON array: the arguments themselves.
    Exec(Vec<Word>),
    /// Text for the shell; empty if nothing is written.
    Shell(Word),
}

/// A name and value of ENV or LABEL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub key: Word,
    /// The value.
    pub value: Word,
    /// Whether a blank stands where the equals sign belongs.
    pub legacy: bool,
}

/// A name of ARG with its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// The name.
    pub name: Word,
    /// The default, if there is an equals sign.
    pub default: Option<Word>,
}

/// ONBUILD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnBuild {
    /// The trigger's text as the image's config keeps it, here-documents included.
    pub expression: String,
    /// The same, parsed.
    pub trigger: Box<Instruction>,
}
