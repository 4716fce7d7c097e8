//! Which blob is copied when: children before parents, each once, over all workers.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use corten_spec::{Descriptor, Digest, Kind};

use crate::copy::CopyReport;
use crate::graph::{check_depth, check_document_bytes};
use crate::progress::Outcome;
use crate::{Error, Result, Source};

/// How many blobs one copy takes; a hostile index could otherwise fill the memory with
/// descriptors.
const MAX_NODES: usize = 200_000;
/// Documents up to this size are kept between being read and being sent on; larger ones, which
/// are rare, are read again.
const KEPT_DOCUMENT: usize = 256 << 10;

/// What a worker does next.
pub(super) enum Task {
    /// Reads a document and finds its children.
    Expand(Arc<Node>),
    /// Copies one blob, whose bytes may be known already.
    Transfer(Arc<Node>, Option<Vec<u8>>),
}

/// One blob to be copied.
pub(super) struct Node {
    pub(super) content: Descriptor,
    /// What refers to it, for messages.
    pub(super) parent: String,
    /// Whether it is a document that an index lists, so that a sparse copy may leave it out.
    pub(super) optional: bool,
    idx: usize,
    depth: usize,
}

/// The state that the workers share.
pub(super) struct Schedule {
    state: Mutex<State>,
    changed: Condvar,
    stopped: AtomicBool,
}

#[derive(Default)]
struct State {
    /// The same bytes may be listed as a document and as a blob, and a wrong size must be found
    /// out: each such descriptor is a node of its own.
    known: HashMap<(Digest, u64, bool), usize>,
    progress: Vec<NodeState>,
    ready: VecDeque<Task>,
    n_unfinished: usize,
    n_document_bytes: u64,
    report: CopyReport,
    error: Option<Error>,
}

struct NodeState {
    node: Arc<Node>,
    parents: Vec<usize>,
    n_waiting: usize,
    bytes: Option<Vec<u8>>,
    done: bool,
}

impl Task {
    pub(super) fn node(&self) -> &Node {
        match self {
            Self::Expand(node) | Self::Transfer(node, _) => node,
        }
    }
}

impl Schedule {
    pub(super) fn new(root: &Descriptor) -> Self {
        let mut state = State::default();
        state.add(root, "the request".into(), false, 0);
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
        }
    }

    /// Waits for something to do; `None` when there is nothing left.
    pub(super) fn next(&self, cancel: &AtomicBool) -> Option<Task> {
        let mut state = self.state();
        loop {
            if state.n_unfinished == 0 || self.is_stopped() || cancel.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(task) = state.ready.pop_front() {
                return Some(task);
            }
            // Nobody wakes us when `cancel` changes.
            let waited = self.changed.wait_timeout(state, Duration::from_millis(50));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Records the children of the document `node`.
    pub(super) fn expanded(
        &self,
        source: &dyn Source,
        node: &Node,
        children: Vec<Descriptor>,
        bytes: Vec<u8>,
    ) -> Result<()> {
        let depth = node.depth + 1;
        check_depth(source, &node.content, depth)?;
        let parent = format!("`{}`", node.content.digest);
        let is_index = node.content.kind() == Kind::Index;
        let mut state = self.state();
        state.n_document_bytes += bytes.len() as u64;
        check_document_bytes(source, &node.content, state.n_document_bytes)?;
        for child in children {
            let optional = is_index && child.kind().has_children();
            let child = state.add(&child, parent.clone(), optional, depth);
            if state.progress.len() > MAX_NODES {
                return Err(Error::Unusable {
                    place: source.place(),
                    reason: format!("{parent} leads to more than {MAX_NODES} blobs"),
                });
            }
            let child = state.at(child);
            if !child.done {
                child.parents.push(node.idx);
                state.at(node.idx).n_waiting += 1;
            }
        }
        let entry = state.at(node.idx);
        entry.bytes = (bytes.len() <= KEPT_DOCUMENT).then_some(bytes);
        if entry.n_waiting == 0 {
            state.transfer(node.idx);
        }
        self.changed.notify_all();
        Ok(())
    }

    pub(super) fn transferred(&self, node: &Node, outcome: Outcome, sent: u64) {
        let mut state = self.state();
        let report = &mut state.report;
        match outcome {
            Outcome::Sent => report.sent += 1,
            Outcome::Present => report.present += 1,
            Outcome::Skipped => report.skipped += 1,
        }
        report.bytes += sent;
        state.done(node.idx);
        self.changed.notify_all();
    }

    pub(super) fn absent(&self, node: &Node) {
        let mut state = self.state();
        state.report.absent += 1;
        state.done(node.idx);
        self.changed.notify_all();
    }

    /// Stops all workers; the first error is the one that is reported.
    pub(super) fn fail(&self, error: Error) {
        self.state().error.get_or_insert(error);
        self.stopped.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Stops all workers if the calling thread panics: they would wait for it for ever.
    pub(super) fn stop_on_panic(&self) -> impl Drop + '_ {
        struct StopOnPanic<'a>(&'a Schedule);
        impl Drop for StopOnPanic<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    self.0.fail(Error::Cancelled);
                }
            }
        }
        StopOnPanic(self)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn finish(self, cancel: &AtomicBool) -> Result<CopyReport> {
        let state = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        match state.error {
            Some(error) => Err(error),
            None if state.n_unfinished > 0 && cancel.load(Ordering::Relaxed) => {
                Err(Error::Cancelled)
            }
            None => Ok(state.report),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, content: &Descriptor, parent: String, optional: bool, depth: usize) -> usize {
        let expands = content.kind().has_children() || content.kind() == Kind::Schema1;
        let key = (content.digest.clone(), content.size, expands);
        if let Some(&idx) = self.known.get(&key) {
            return idx;
        }
        let idx = self.progress.len();
        let node = Arc::new(Node {
            content: content.clone(),
            parent,
            optional,
            idx,
            depth,
        });
        self.known.insert(key, idx);
        self.n_unfinished += 1;
        // Documents first: the sooner the blobs are known, the more can be on their way.
        if expands {
            self.ready.push_front(Task::Expand(node.clone()));
        } else {
            self.ready.push_back(Task::Transfer(node.clone(), None));
        }
        self.progress.push(NodeState {
            node,
            parents: Vec::new(),
            n_waiting: 0,
            bytes: None,
            done: false,
        });
        idx
    }

    fn at(&mut self, idx: usize) -> &mut NodeState {
        self.progress
            .get_mut(idx)
            .expect("indexes come from `add`, and nodes are never removed")
    }

    fn transfer(&mut self, idx: usize) {
        let entry = self.at(idx);
        let task = Task::Transfer(entry.node.clone(), entry.bytes.take());
        self.ready.push_back(task);
    }

    fn done(&mut self, idx: usize) {
        let entry = self.at(idx);
        entry.done = true;
        let parents = std::mem::take(&mut entry.parents);
        self.n_unfinished -= 1;
        for parent in parents {
            let entry = self.at(parent);
            entry.n_waiting -= 1;
            if entry.n_waiting == 0 {
                self.transfer(parent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;
    use corten_spec::media_type;

    #[test]
    fn the_documents_of_one_copy_are_bounded() {
        let schedule = Schedule::new(&Descriptor::of(media_type::OCI_INDEX, b"root"));
        let Some(Task::Expand(node)) = schedule.next(&AtomicBool::new(false)) else {
            panic!("the root is expanded first")
        };
        let source = Memory::new();
        let expand = |len| schedule.expanded(&source, &node, Vec::new(), vec![0; len]);
        expand(256 << 20).unwrap();
        let error = expand(1).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("more than 268435456 bytes of documents"),
            "{error}"
        );
    }
}
