//! The one way in which content moves: [`copy`] from a source to a sink.

mod schedule;

use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use corten_spec::{Descriptor, Kind};

use crate::copy::schedule::{Schedule, Task};
use crate::graph::Parent;
use crate::progress::Outcome;
use crate::{Error, Ingest, IngestPlan, Progress, Result, Silent, Sink, Source};

/// How [`copy`] works.
#[derive(Clone, Copy)]
pub struct CopyOptions<'a> {
    /// How many blobs are on their way at once; 0 counts as 1.
    pub jobs: usize,
    /// Told what happens.
    pub progress: &'a dyn Progress,
    /// Stops the copy soon after it becomes true.
    pub cancel: &'a AtomicBool,
    /// What to do about manifests that an index lists and the source does not have.
    pub sparse: Sparse,
}

/// What to do about manifests that an index lists and the source does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sparse {
    /// Fail, naming the first of them.
    #[default]
    Refuse,
    /// Leave them out: the copy of the index is as sparse as the original (LAY-13). `docker save`
    /// writes such indexes.
    Allow,
}

/// What a copy did. A blob counts once, however often it is referred to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyReport {
    /// How many blobs were sent, documents included.
    pub sent: usize,
    /// How many blobs were there already, or were mounted.
    pub present: usize,
    /// How many foreign layers the sink does not take.
    pub skipped: usize,
    /// How many manifests of sparse indexes the source does not have.
    pub absent: usize,
    /// How many bytes were sent.
    pub bytes: u64,
}

impl Default for CopyOptions<'_> {
    fn default() -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self {
            jobs: 8,
            progress: &Silent,
            cancel: &NEVER,
            sparse: Sparse::Refuse,
        }
    }
}

impl std::fmt::Debug for CopyOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyOptions")
            .field("jobs", &self.jobs)
            .field("cancel", &self.cancel)
            .field("sparse", &self.sparse)
            .finish_non_exhaustive()
    }
}

/// Copies `root` and everything it refers to, children before parents, skipping what is there.
///
/// A reader of `sink` therefore never sees a document whose parts are missing. Nothing is tagged:
/// that is the caller's last step. On failure, what was copied stays, and a later copy goes on from
/// there.
///
/// ```
/// use corten_content::{CopyOptions, Memory, Sink, copy};
///
/// let (here, there) = (Memory::new(), Memory::new());
/// let content = here.add("text/plain", b"hello");
/// let report = copy(&here, &there, &content, &CopyOptions::default())?;
/// assert_eq!((report.sent, report.bytes), (1, 5));
/// assert!(there.contains(&content)?);
/// # Ok::<(), corten_content::Error>(())
/// ```
pub fn copy(
    source: &dyn Source,
    sink: &dyn Sink,
    root: &Descriptor,
    options: &CopyOptions<'_>,
) -> Result<CopyReport> {
    let copy = Copy {
        source,
        sink,
        options,
        schedule: Schedule::new(root),
    };
    thread::scope(|scope| {
        for _ in 1..options.jobs {
            scope.spawn(|| copy.work());
        }
        copy.work();
    });
    copy.schedule.finish(options.cancel)
}

struct Copy<'a> {
    source: &'a dyn Source,
    sink: &'a dyn Sink,
    options: &'a CopyOptions<'a>,
    schedule: Schedule,
}

impl Copy<'_> {
    fn work(&self) {
        let _guard = self.schedule.stop_on_panic();
        while let Some(task) = self.schedule.next(self.options.cancel) {
            let done = match &task {
                Task::Expand(node) => self.expand(&node.content).and_then(|parent| {
                    let children = parent.children();
                    let bytes = parent.into_bytes();
                    self.schedule.expanded(self.source, node, children, bytes)
                }),
                Task::Transfer(node, bytes) => self
                    .transfer(&node.content, bytes.as_deref())
                    .map(|(outcome, sent)| self.schedule.transferred(node, outcome, sent)),
            };
            let Err(error) = done else { continue };
            let node = task.node();
            if error.is_not_found() && node.optional && self.options.sparse == Sparse::Allow {
                self.schedule.absent(node);
            } else {
                let error = self.explain(&node.content, &node.parent, error);
                self.schedule.fail(error);
            }
        }
    }

    fn expand(&self, content: &Descriptor) -> Result<Parent> {
        Parent::load(self.source, content)?.ok_or_else(|| Error::Unusable {
            place: self.source.place(),
            reason: format!("`{}` is no manifest or index", content.digest),
        })
    }

    fn transfer(&self, content: &Descriptor, bytes: Option<&[u8]>) -> Result<(Outcome, u64)> {
        let foreign = matches!(content.kind(), Kind::Layer { foreign: true, .. });
        let (outcome, sent) = if foreign && !self.sink.takes_foreign_layers() {
            (Outcome::Skipped, 0)
        } else if self
            .sink
            .contains(content)
            .map_err(|error| self.at_sink(error))?
        {
            (Outcome::Present, 0)
        } else {
            self.send(content, bytes)?
        };
        self.options.progress.end(content, outcome);
        Ok((outcome, sent))
    }

    fn send(&self, content: &Descriptor, bytes: Option<&[u8]>) -> Result<(Outcome, u64)> {
        let mut plan = IngestPlan::of(content)?;
        if !content.kind().has_children() {
            plan.mount = self.source.mountable_for(content);
        }
        let start = || self.sink.ingest(&plan).map_err(|error| self.at_sink(error));
        let mut ingest = start()?;
        let offset = ingest.offset();
        let sent = self.fill(content, bytes, &mut *ingest)?;
        let commit = |ingest: Box<dyn Ingest + '_>| {
            let committed = ingest.commit(Some(content));
            committed.map_err(|error| self.at_sink(error))
        };
        match commit(ingest) {
            Ok(_) => {}
            // What was left by an interrupted write may be damaged; that write is now gone.
            Err(error) if error.is_corrupt() && offset > 0 => {
                let mut ingest = start()?;
                let sent = self.fill(content, bytes, &mut *ingest)?;
                commit(ingest)?;
                return Ok((Outcome::Sent, sent));
            }
            Err(error) => return Err(error),
        }
        // A write that starts complete was mounted.
        let is_mounted = offset == content.size && offset > 0;
        let outcome = if is_mounted {
            Outcome::Present
        } else {
            Outcome::Sent
        };
        Ok((outcome, sent))
    }

    /// Writes what is still missing, and returns how many bytes that was.
    fn fill(
        &self,
        content: &Descriptor,
        bytes: Option<&[u8]>,
        ingest: &mut dyn Ingest,
    ) -> Result<u64> {
        let offset = ingest.offset();
        self.options.progress.begin(content, offset);
        let Some(remaining) = content.size.checked_sub(offset).filter(|&n| n > 0) else {
            // Committing an ingest that holds too much fails with the right error.
            return Ok(0);
        };
        let embedded = match bytes {
            Some(_) => None,
            None => content.embedded()?,
        };
        let mut reader: Box<dyn Read + Send + '_> = match bytes.or(embedded.as_deref()) {
            Some(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                Box::new(bytes.get(start..).unwrap_or_default())
            }
            None => self.source.fetch(content, offset)?,
        };
        // One byte more than there should be tells a source that has too much.
        self.pump(content, &mut (&mut reader).take(remaining + 1), ingest)
    }

    fn pump(
        &self,
        content: &Descriptor,
        reader: &mut dyn Read,
        ingest: &mut dyn Ingest,
    ) -> Result<u64> {
        // Large enough that system calls do not show, small enough for 64 transfers at once.
        let mut buf = vec![0; 128 << 10];
        let remaining = content.size.saturating_sub(ingest.offset());
        let mut sent = 0;
        loop {
            if self.schedule.is_stopped() || self.options.cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            let n_read = match reader.read(&mut buf) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.map_err(|error| {
                    Error::stream(format!("read from {}", self.source.place()), error)
                })?,
            };
            let total = sent + n_read as u64;
            if total > remaining || (n_read == 0 && total < remaining) {
                return Err(self.wrong_size(content, content.size - remaining + total));
            }
            if n_read == 0 {
                return Ok(sent);
            }
            ingest
                .write_all(buf.get(..n_read).unwrap_or_default())
                .map_err(|error| {
                    let action = format!("write to {}", self.sink.place());
                    self.at_sink(Error::stream(action, error))
                })?;
            sent = total;
            self.options.progress.advance(content, n_read as u64);
        }
    }

    /// Keeps what the sink does not find, such as a repository that nobody made, from being taken
    /// for content that the source lacks.
    fn at_sink(&self, error: Error) -> Error {
        if error.is_not_found() {
            return Error::Place {
                place: self.sink.place(),
                source: Box::new(error),
            };
        }
        error
    }

    fn wrong_size(&self, content: &Descriptor, received: u64) -> Error {
        Error::Corrupt {
            place: self.source.place(),
            source: Box::new(corten_spec::Error::SizeMismatch {
                digest: content.digest.clone(),
                expected: content.size,
                received,
            }),
        }
    }

    /// Adds to `error` which blob was on its way from where to where.
    fn explain(&self, content: &Descriptor, parent: &str, error: Error) -> Error {
        let route = format!(
            "{} on the way to {}",
            self.source.place(),
            self.sink.place()
        );
        match error {
            Error::Cancelled => error,
            Error::Corrupt { source, .. } => Error::Corrupt {
                place: route,
                source,
            },
            _ if error.is_not_found() => Error::Missing {
                digest: content.digest.clone(),
                parent: parent.to_owned(),
                place: self.source.place(),
            },
            other => Error::Place {
                place: format!("the copy of `{}` from {route}", content.digest),
                source: Box::new(other),
            },
        }
    }
}
