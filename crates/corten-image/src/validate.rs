//! Checking an image against the specification, from its index down to the entries of its layers.
//!
//! Everything reachable is read and checked, and what is wrong is collected rather than stopped at. A
//! finding names the requirement by its id in the specification checklist. Memory grows with the number
//! of files of one image, never with the size of a blob.

mod config;
mod fields;
mod layer;
mod layout;
mod manifest;
mod walk;

use std::fmt;

use corten_content::Source;
use corten_layer::Shown;
use corten_spec::{Descriptor, Digest};

use crate::Result;

pub use layout::validate_layout;

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ValidateOptions {
    /// What is done with layers.
    pub layers: Layers,
}

/// What is done with layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layers {
    /// They are read and applied: digests, `DiffIDs`, and the meaning of every entry.
    #[default]
    Read,
    /// They are left alone.
    Skip,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The specification forbids it, or the image cannot be used.
    Must,
    /// The specification advises against it, or some tools will stumble.
    Should,
    /// It is allowed, but worth knowing.
    Note,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::Note => "note",
        })
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The requirement, such as `CFG-02`.
    pub requirement: &'static str,
    /// Where it is.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where there is something.
    pub advice: Option<&'static str>,
}

/// Where a finding is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The content; `None` for the files of a layout.
    pub digest: Option<Digest>,
    /// Where in it.
    pub within: Within,
}

/// Where in content a finding is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Within {
    /// In the whole of it.
    Whole,
    /// At this JSON pointer (RFC 6901).
    Pointer(String),
    /// In this entry of a layer.
    Entry(Shown),
    /// In this file of a layout, relative to it.
    File(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(digest) = &self.digest {
            write!(f, "{digest}")?;
        }
        match &self.within {
            Within::Whole => Ok(()),
            Within::Pointer(pointer) => write!(f, "#{pointer}"),
            Within::Entry(path) => write!(f, " `{path}`"),
            Within::File(path) => f.write_str(path),
        }
    }
}

/// Checks `root`, a manifest, an index or anything else in `source`, and everything that it refers to.
///
/// # Errors
/// Fails if content cannot be read for a reason that is not the content's own, such as a broken
/// connection. Whatever is wrong with the content is a finding.
pub fn validate(
    source: &dyn Source,
    root: &Descriptor,
    options: &ValidateOptions,
) -> Result<Vec<Finding>> {
    let mut walk = walk::Walk::new(source, options);
    walk.visit(root)?;
    Ok(walk.into_findings())
}

/// The findings so far. They are bounded, since hostile content can have any number of faults.
#[derive(Debug, Default)]
struct Findings {
    kept: Vec<Finding>,
    n_dropped: usize,
}

impl Findings {
    const KEPT: usize = 10_000;

    fn add(&mut self, finding: Finding) {
        if self.kept.len() < Self::KEPT {
            self.kept.push(finding);
        } else {
            self.n_dropped += 1;
        }
    }

    fn into_vec(mut self) -> Vec<Finding> {
        if self.n_dropped > 0 {
            self.kept.push(Finding {
                level: Level::Note,
                requirement: "CNS-09",
                place: Place {
                    digest: None,
                    within: Within::Whole,
                },
                message: format!("{} further findings were left out", self.n_dropped),
                advice: None,
            });
        }
        self.kept
    }
}

/// Adds findings about one piece of content.
#[derive(Debug)]
struct Report<'a> {
    findings: &'a mut Findings,
    digest: Option<Digest>,
    /// Whether anything that must not be was found.
    is_broken: bool,
}

impl<'a> Report<'a> {
    fn new(findings: &'a mut Findings, digest: Option<Digest>) -> Self {
        Self {
            findings,
            digest,
            is_broken: false,
        }
    }

    fn at(&mut self, within: Within, rule: Rule, message: impl Into<String>) {
        self.is_broken |= rule.level == Level::Must;
        self.findings.add(Finding {
            level: rule.level,
            requirement: rule.id,
            place: Place {
                digest: self.digest.clone(),
                within,
            },
            message: message.into(),
            advice: rule.advice,
        });
    }

    fn pointer(&mut self, pointer: &str, rule: Rule, message: impl Into<String>) {
        self.at(Within::Pointer(pointer.to_owned()), rule, message);
    }

    fn whole(&mut self, rule: Rule, message: impl Into<String>) {
        self.at(Within::Whole, rule, message);
    }
}

/// A requirement that can be broken.
#[derive(Debug, Clone, Copy)]
struct Rule {
    level: Level,
    id: &'static str,
    advice: Option<&'static str>,
}

const fn must(id: &'static str) -> Rule {
    Rule {
        level: Level::Must,
        id,
        advice: None,
    }
}

const fn should(id: &'static str) -> Rule {
    Rule {
        level: Level::Should,
        id,
        advice: None,
    }
}

const fn note(id: &'static str) -> Rule {
    Rule {
        level: Level::Note,
        id,
        advice: None,
    }
}

impl Rule {
    const fn advise(self, advice: &'static str) -> Self {
        Self {
            advice: Some(advice),
            ..self
        }
    }
}

/// Returns the text of an error and of what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let level = error.to_string();
        // Some errors say what their cause says.
        if !text.contains(&level) {
            text = format!("{text}: {level}");
        }
        cause = error.source();
    }
    text
}
