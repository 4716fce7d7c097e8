//! Which paths of a source the words of a COPY mean.

use corten_dockerfile::glob_match;
use corten_layer::tree::Kind;
use corten_layer::{NodeId, Shown, Tree, path};

use crate::copy::CopyResult;
use crate::error::StepError;

/// A path that was selected, links followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selected {
    /// Where it was found; the last name is the one that it has in a directory it is copied into.
    pub(crate) path: Vec<u8>,
    /// What it is.
    pub(crate) node: NodeId,
}

/// Returns what `pattern`, absolute in the source, selects in `tree`; nothing if nothing is there.
pub(crate) fn select(
    tree: &Tree,
    pattern: &str,
    span: corten_dockerfile::Span,
) -> CopyResult<Vec<Selected>> {
    let pattern = pattern.trim_matches('/').as_bytes();
    if !has_wildcard(pattern) {
        let node = tree.follow(pattern)?;
        return Ok(node
            .map(|node| selected(pattern.to_vec(), node))
            .into_iter()
            .collect());
    }
    let names: Vec<&[u8]> = pattern.split(|&byte| byte == b'/').collect();
    let mut found = vec![(Vec::new(), Tree::ROOT)];
    for (name_idx, name) in names.iter().enumerate() {
        if *name == b"**" {
            found = below(
                tree,
                &found,
                names.get(name_idx..).unwrap_or_default(),
                span,
            )?;
            break;
        }
        let is_last = name_idx + 1 == names.len();
        let mut next = Vec::new();
        for (directory, id) in &found {
            for path in step(tree, directory, *id, name, span)? {
                match tree.follow(&path)? {
                    Some(node) => next.push((path, node)),
                    None if is_last => return Err(leads_nowhere(&path, span)),
                    None => {}
                }
            }
        }
        found = next;
    }
    Ok(found
        .into_iter()
        .map(|(path, node)| selected(path, node))
        .collect())
}

fn selected(path: Vec<u8>, node: NodeId) -> Selected {
    Selected { path, node }
}

impl Selected {
    /// Returns the name that it has in a directory it is copied into.
    pub(crate) fn name(&self) -> &[u8] {
        path::split(&self.path).1
    }
}

/// Tells whether `pattern` may match nothing: without a wildcard it names one path, which has to be
/// there.
pub(crate) fn is_optional(pattern: &str) -> bool {
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return true,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    false
}

fn has_wildcard(pattern: &[u8]) -> bool {
    pattern.iter().any(|byte| b"*?[\\".contains(byte))
}

type Place = (Vec<u8>, NodeId);

/// Unlike what is only passed through, what is to be copied has to be there, as for BuildKit.
fn leads_nowhere(path: &[u8], span: corten_dockerfile::Span) -> StepError {
    let shown = Shown::from(path);
    StepError::at(span, format!("`{shown}` is a link that leads nowhere"))
}

/// Returns the paths of what is called `pattern` in the directory `id`.
fn step(
    tree: &Tree,
    directory: &[u8],
    id: NodeId,
    pattern: &[u8],
    span: corten_dockerfile::Span,
) -> CopyResult<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for (name, _) in tree.children(id) {
        if matches(pattern, name, span)? {
            found.push(path::join(directory, name));
        }
    }
    Ok(found)
}

fn matches(pattern: &[u8], path: &[u8], span: corten_dockerfile::Span) -> CopyResult<bool> {
    glob_match(pattern, path).map_err(|error| StepError::at(span, error.to_string()))
}

/// Returns what lies at any depth in `starts` and matches `rest`, which begins with `**`.
fn below(
    tree: &Tree,
    starts: &[Place],
    rest: &[&[u8]],
    span: corten_dockerfile::Span,
) -> CopyResult<Vec<Place>> {
    let pattern = rest.join(&b'/');
    let mut found = Vec::new();
    for (start, id) in starts {
        let mut todo = vec![(Vec::new(), *id)];
        while let Some((directory, id)) = todo.pop() {
            for (name, child) in tree.children(id) {
                let relative = path::join(&directory, name);
                if matches(&pattern, &relative, span)? {
                    let path = path::join(start, &relative);
                    let node = tree.follow(&path)?;
                    let node = node.ok_or_else(|| leads_nowhere(&path, span))?;
                    found.push((path, node));
                }
                if matches!(tree.node(child).kind, Kind::Directory(_)) {
                    todo.push((relative, child));
                }
            }
        }
    }
    found.sort_by(|(left, _), (right, _)| path::compare(left, right));
    Ok(found)
}
