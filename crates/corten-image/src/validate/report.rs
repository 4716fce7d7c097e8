//! Collecting findings, in bounded memory.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use corten_spec::Digest;

use super::finding::{Fault, Finding, Level, Place, Within};
use super::requirements::requirement;

/// The findings so far. They are bounded, since hostile content can have any number of faults.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    /// How many there are of each kind, and where the last one that is kept is.
    kinds: HashMap<(Level, &'static str), Kind>,
    /// Hashes of what is kept: a layer of two images is read twice, and told about once.
    seen: HashSet<u64>,
    hashing: RandomState,
}

#[derive(Debug, Default)]
struct Kind {
    n_kept: usize,
    last: usize,
}

impl Findings {
    /// How many of one level and requirement are kept.
    pub(super) const KEPT: usize = 100;

    fn add(&mut self, finding: Finding) {
        let hash = self.hashing.hash_one(&finding);
        if self.seen.contains(&hash) {
            return;
        }
        let kind = self
            .kinds
            .entry((finding.level, finding.requirement))
            .or_default();
        if kind.n_kept == Self::KEPT {
            if let Some(last) = self.kept.get_mut(kind.last) {
                last.n_more += 1;
            }
            return;
        }
        kind.n_kept += 1;
        kind.last = self.kept.len();
        self.seen.insert(hash);
        self.kept.push(finding);
    }

    /// Adds what was found elsewhere, as if it had been found here.
    fn absorb(&mut self, other: Self) {
        for mut finding in other.kept {
            let n_more = std::mem::take(&mut finding.n_more);
            let key = (finding.level, finding.requirement);
            self.add(finding);
            let last = self.kinds.get(&key).map(|kind| kind.last);
            if let Some(last) = last.and_then(|last| self.kept.get_mut(last)) {
                last.n_more += n_more;
            }
        }
    }

    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.kept
    }
}

/// What a report is about.
#[derive(Debug, Clone)]
enum Subject {
    Content(Digest),
    File(&'static str),
    Nothing,
}

/// Adds findings about one piece of content, or one file of a layout.
#[derive(Debug)]
pub(super) struct Report<'a> {
    findings: &'a mut Findings,
    subject: Subject,
    /// Whether anything that must not be was found.
    pub(super) is_broken: bool,
}

impl<'a> Report<'a> {
    pub(super) fn of(findings: &'a mut Findings, digest: Digest) -> Self {
        Self::new(findings, Subject::Content(digest))
    }

    pub(super) fn of_file(findings: &'a mut Findings, path: &'static str) -> Self {
        Self::new(findings, Subject::File(path))
    }

    pub(super) fn of_nothing(findings: &'a mut Findings) -> Self {
        Self::new(findings, Subject::Nothing)
    }

    fn new(findings: &'a mut Findings, subject: Subject) -> Self {
        Self {
            findings,
            subject,
            is_broken: false,
        }
    }

    /// Adds what was found about the same content apart from here.
    pub(super) fn absorb(&mut self, findings: Findings) {
        self.findings.absorb(findings);
    }

    pub(super) fn at(&mut self, within: Within, rule: Rule, fault: impl Into<Fault>) {
        let fault = fault.into();
        self.is_broken |= rule.level == Level::Must;
        let (digest, within) = match (&self.subject, within) {
            (Subject::Content(digest), within) => (Some(digest.clone()), within),
            (Subject::File(path), Within::Pointer(pointer)) => {
                let path = (*path).to_owned();
                (None, Within::File { path, pointer })
            }
            (Subject::File(path), _) => {
                let (path, pointer) = ((*path).to_owned(), String::new());
                (None, Within::File { path, pointer })
            }
            (Subject::Nothing, within) => (None, within),
        };
        let advice = requirement(rule.id).and_then(|requirement| requirement.advice);
        self.findings.add(Finding {
            level: rule.level,
            requirement: rule.id,
            place: Place { digest, within },
            message: fault.message,
            expected: fault.expected,
            received: fault.received,
            advice: rule.advice.or(advice),
            n_more: 0,
        });
    }

    pub(super) fn pointer(&mut self, pointer: &str, rule: Rule, fault: impl Into<Fault>) {
        self.at(Within::Pointer(pointer.to_owned()), rule, fault);
    }

    pub(super) fn whole(&mut self, rule: Rule, fault: impl Into<Fault>) {
        self.at(Within::Whole, rule, fault);
    }
}

/// A requirement that can be broken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) level: Level,
    pub(super) id: &'static str,
    advice: Option<&'static str>,
}

pub(super) const fn must(id: &'static str) -> Rule {
    Rule::new(Level::Must, id)
}

pub(super) const fn should(id: &'static str) -> Rule {
    Rule::new(Level::Should, id)
}

pub(super) const fn note(id: &'static str) -> Rule {
    Rule::new(Level::Note, id)
}

impl Rule {
    const fn new(level: Level, id: &'static str) -> Self {
        Self {
            level,
            id,
            advice: None,
        }
    }

    /// Says something more helpful than what the requirement's own advice is.
    pub(super) const fn advise(self, advice: &'static str) -> Self {
        Self {
            advice: Some(advice),
            ..self
        }
    }
}

/// Returns the text of an error and of what caused it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
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
