//! Writing gzip: independent members, compressed side by side.
//!
//! Each member holds 1 MiB of input, the last one what is left; an empty stream is one empty member.
//! Its header has no name, no time and one extra subfield, which makes a layer of ours readable in
//! parallel and at random without an index:
//!
//! ```text
//! offset  bytes  value
//!      0      4  1f 8b 08 04    deflate, with an extra field
//!      4      4  00 00 00 00    no time
//!      8      2  00 ff          no hint of the level, unknown operating system
//!     10      2  08 00          bytes of the extra field
//!     12      4  43 54 04 00    subfield `CT`, four bytes
//!     16      4  size           bytes of the whole member, header and trailer included
//!     20      …                 deflate
//!     −8      4  crc            CRC-32 of the input
//!     −4      4  length         bytes of the input
//! ```
//!
//! Numbers are little-endian. The bytes are a function of the input and the level alone: neither the
//! number of threads nor the sizes of writes show.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use libdeflater::{CompressionLvl, Compressor, crc32};

use crate::seek::{SeekPoint, SeekPoints};

/// Names the gzip compressor, its version and its parameters other than the level.
///
/// Part of the keys of caches that hold compressed layers: other bytes, another name.
pub const GZIP_NAME: &str = "libdeflate-1.26-members-1MiB";

/// Input bytes of a member.
const MEMBER: usize = 1 << 20;
const HEADER: [u8; 16] = [
    0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 8, 0, b'C', b'T', 4, 0,
];
/// Bytes before the deflate stream, and after it.
const FRAME: (usize, usize) = (HEADER.len() + 4, 8);

/// Compresses what is written to it.
pub(crate) struct GzipWriter<W> {
    inner: W,
    current: Work,
    workers: Workers,
    in_flight: VecDeque<Receiver<Work>>,
    spare: Vec<Work>,
    empty: bool,
    /// Where the next member goes.
    next: SeekPoint,
    points: SeekPoints,
}

/// A member before, during and after its compression; its buffers are used again.
#[derive(Default)]
struct Work {
    input: Vec<u8>,
    member: Vec<u8>,
    len: usize,
}

struct Job {
    work: Work,
    done: Sender<Work>,
}

enum Workers {
    /// No threads: each member is compressed when it is full.
    Inline(Compressor),
    Threads {
        jobs: Option<Sender<Job>>,
        threads: Vec<JoinHandle<()>>,
    },
}

impl<W: Write> GzipWriter<W> {
    /// Compresses on `threads` threads, or on the caller's if that is less than two.
    ///
    /// Memory is about 4 MiB for each thread.
    pub(crate) fn new(inner: W, level: CompressionLvl, threads: usize) -> io::Result<Self> {
        let workers = Workers::start(level, threads)?;
        Ok(Self {
            inner,
            current: Work::default(),
            workers,
            in_flight: VecDeque::new(),
            spare: Vec::new(),
            empty: true,
            next: SeekPoint {
                plain: 0,
                stored: 0,
            },
            points: SeekPoints::default(),
        })
    }

    pub(crate) fn points(&self) -> &SeekPoints {
        &self.points
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        if self.empty || !self.current.input.is_empty() {
            self.submit()?;
        }
        while let Some(done) = self.in_flight.pop_front() {
            self.emit(&done)?;
        }
        Ok(self.inner)
    }

    fn submit(&mut self) -> io::Result<()> {
        self.empty = false;
        let next = self.spare.pop().unwrap_or_default();
        let mut work = std::mem::replace(&mut self.current, next);
        match &mut self.workers {
            Workers::Inline(compressor) => {
                compress(compressor, &mut work)?;
                self.put(work)
            }
            Workers::Threads { jobs, threads } => {
                let (done, result) = mpsc::channel();
                let jobs = jobs.as_ref().expect("taken only when dropped");
                jobs.send(Job { work, done }).map_err(|_| worker_lost())?;
                self.in_flight.push_back(result);
                // Twice as many members as threads: no thread waits for this one to come back.
                if self.in_flight.len() >= 2 * threads.len() {
                    let done = self.in_flight.pop_front().expect("one has just been added");
                    self.emit(&done)?;
                }
                Ok(())
            }
        }
    }

    fn emit(&mut self, done: &Receiver<Work>) -> io::Result<()> {
        let work = done.recv().map_err(|_| worker_lost())?;
        self.put(work)
    }

    fn put(&mut self, mut work: Work) -> io::Result<()> {
        self.inner.write_all(&work.member[..work.len])?;
        self.points.add(self.next);
        self.next.plain += work.input.len() as u64;
        self.next.stored += work.len as u64;
        work.input.clear();
        self.spare.push(work);
        Ok(())
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.current.input.len() == MEMBER {
            self.submit()?;
        }
        let len = buf.len().min(MEMBER - self.current.input.len());
        self.current
            .input
            .reserve_exact(MEMBER - self.current.input.len());
        self.current.input.extend_from_slice(&buf[..len]);
        Ok(len)
    }

    /// Does nothing: where a member ends must not depend on who flushes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Workers {
    fn start(level: CompressionLvl, threads: usize) -> io::Result<Self> {
        if threads < 2 {
            return Ok(Self::Inline(Compressor::new(level)));
        }
        let (jobs, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        // Threads that have started end with their channel if a later one does not start.
        let threads = (0..threads)
            .map(|_| {
                let queue = Arc::clone(&queue);
                let compressor = Compressor::new(level);
                thread::Builder::new()
                    .name("gzip".to_owned())
                    .spawn(move || work_through(&queue, compressor))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self::Threads {
            jobs: Some(jobs),
            threads,
        })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let Self::Threads { jobs, threads } = self else {
            return;
        };
        drop(jobs.take());
        for thread in threads.drain(..) {
            // A panic has been seen already, as a member that never came.
            drop(thread.join());
        }
    }
}

fn work_through(queue: &Mutex<Receiver<Job>>, mut compressor: Compressor) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { mut work, done }) = next else {
            return;
        };
        if compress(&mut compressor, &mut work).is_err() || done.send(work).is_err() {
            return;
        }
    }
}

fn compress(compressor: &mut Compressor, work: &mut Work) -> io::Result<()> {
    let (before, after) = FRAME;
    let bound = before + compressor.deflate_compress_bound(work.input.len()) + after;
    if work.member.len() < bound {
        work.member.resize(bound, 0);
    }
    let len = compressor
        .deflate_compress(&work.input, &mut work.member[before..bound - after])
        .map_err(io::Error::other)?;
    work.len = before + len + after;
    let word = |value: usize| {
        u32::try_from(value)
            .map(u32::to_le_bytes)
            .map_err(io::Error::other)
    };
    let (header, rest) = work.member.split_at_mut(before);
    header[..HEADER.len()].copy_from_slice(&HEADER);
    header[HEADER.len()..].copy_from_slice(&word(work.len)?);
    rest[len..len + 4].copy_from_slice(&crc32(&work.input).to_le_bytes());
    rest[len + 4..len + 8].copy_from_slice(&word(work.input.len())?);
    Ok(())
}

fn worker_lost() -> io::Error {
    io::Error::other("a compression thread has ended early")
}
