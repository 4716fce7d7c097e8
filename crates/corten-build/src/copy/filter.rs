//! `--exclude` and `--parents`: which of what lies below a source is taken.

use corten_dockerfile::Ignore;
use corten_layer::tree::Kind;
use corten_layer::{NodeId, Tree, path};

use crate::copy::CopyResult;
use crate::error::StepError;

/// What is taken of each source; of a source that is a file always all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Filter {
    /// What is taken; everything if `None`.
    include: Option<Ignore>,
    /// What is left out of that.
    exclude: Ignore,
}

/// Something below a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Where, relative to the source.
    pub(crate) path: Vec<u8>,
    pub(crate) node: NodeId,
    pub(crate) why: Why,
}

/// Why something is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// For itself.
    Itself,
    /// It is a directory that holds something that is taken.
    Parent,
}

impl Filter {
    /// Takes what matches `pattern`, if there is one, and none of `excludes`, both relative to the
    /// source.
    pub(crate) fn new(
        pattern: Option<&str>,
        excludes: &[String],
        span: corten_dockerfile::Span,
    ) -> CopyResult<Self> {
        let patterns = |texts: &[&str]| {
            Ignore::of_patterns(texts.iter().copied())
                .map_err(|error| StepError::at(span, error.to_string()))
        };
        let excludes: Vec<&str> = excludes.iter().map(String::as_str).collect();
        Ok(Self {
            include: pattern.map(|pattern| patterns(&[pattern])).transpose()?,
            exclude: patterns(&excludes)?,
        })
    }

    /// Returns what is taken below the directory `top`, directories before what is in them.
    pub(crate) fn below(&self, tree: &Tree, top: NodeId) -> Vec<Taken> {
        let mut taken = Vec::new();
        // The directories above the current one that are not taken for themselves, nor yet because
        // of something in them.
        let mut waiting: Vec<Taken> = Vec::new();
        let mut todo = vec![(top, Vec::new())];
        while let Some((id, path)) = todo.pop() {
            waiting.retain(|above| path::is_within(&path, &above.path) && path != above.path);
            let is_directory = matches!(tree.node(id).kind, Kind::Directory(_));
            let is_excluded = !self.exclude.is_empty() && self.exclude.decide(&path).excluded;
            let is_included = |include: &Ignore| include.decide(&path).excluded;
            let is_included = self.include.as_ref().is_none_or(is_included);
            let one = Taken {
                path,
                node: id,
                why: Why::Itself,
            };
            if id == top {
                // The source itself is always taken, and is not ours to tell.
            } else if !is_excluded && is_included {
                taken.append(&mut waiting);
                taken.push(one.clone());
            } else if !is_directory || (is_excluded && !self.exclude.has_exceptions()) {
                continue;
            } else {
                waiting.push(Taken {
                    why: Why::Parent,
                    ..one.clone()
                });
            }
            let first = todo.len();
            todo.extend(
                tree.children(id)
                    .map(|(name, child)| (child, path::join(&one.path, name))),
            );
            if let Some(added) = todo.get_mut(first..) {
                added.reverse();
            }
        }
        taken
    }
}
