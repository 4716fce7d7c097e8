//! A large blob in one request, sent while it is being written.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use corten_spec::Descriptor;

use crate::client::{Call, Client};
use crate::transport::{Body, Response};
use crate::upload::{Upload, is_passing};
use crate::{Error, Result, retry};

/// How much of what was sent is kept, in bytes. When the connection breaks, a registry lacks what
/// was in the buffers between us, which is usually less: a sender's grow to 4 MiB, a receiver's to 6
/// MiB by default before Linux 6.16, and our own pipe holds 1 MiB.
const WINDOW: u64 = 12 << 20;

/// The body of an upload's closing request, on its way.
#[derive(Debug)]
pub(crate) struct Stream {
    content: Descriptor,
    pipe: Option<Pipe>,
    /// What was sent last, from offset `start` to offset `end`.
    window: VecDeque<Arc<[u8]>>,
    start: u64,
    end: u64,
    attempt: u32,
}

impl Stream {
    /// Starts to send `content` as the whole of `upload`.
    pub(crate) fn start(upload: &Upload, content: &Descriptor) -> Self {
        Self {
            content: content.clone(),
            pipe: Some(upload.stream(content, 0)),
            window: VecDeque::new(),
            start: 0,
            end: 0,
            attempt: 0,
        }
    }

    /// Sends `piece`; waits while the network is slower.
    pub(crate) fn send(&mut self, upload: &mut Upload, piece: Vec<u8>) -> Result<()> {
        let piece: Arc<[u8]> = piece.into();
        self.end += piece.len() as u64;
        self.window.push_back(Arc::clone(&piece));
        while self.end - self.start > WINDOW {
            let Some(oldest) = self.window.pop_front() else {
                break;
            };
            self.start += oldest.len() as u64;
        }
        if self.pipe.as_ref().is_some_and(|pipe| pipe.send(piece)) {
            return Ok(());
        }
        let error = match self.answer(upload) {
            Err(error) => error,
            Ok(_) => upload.broken("it answered before the blob was sent"),
        };
        self.resume(upload, error)
    }

    /// Waits for the answer to the whole.
    pub(crate) fn finish(mut self, upload: &mut Upload) -> Result<()> {
        loop {
            let closed = self
                .answer(upload)
                .and_then(|response| upload.closed(&self.content.digest, response));
            match closed {
                Ok(()) => return Ok(()),
                Err(error) => self.resume(upload, error)?,
            }
        }
    }

    fn answer(&mut self, upload: &Upload) -> Result<Response> {
        match self.pipe.take() {
            Some(pipe) => pipe.finish(upload),
            None => Err(upload.broken("it was not sent")),
        }
    }

    /// Goes on after `error` where the registry is, if what it lacks is still at hand.
    fn resume(&mut self, upload: &mut Upload, mut error: Error) -> Result<()> {
        let policy = upload.client.settings().retry;
        // A stream is not repeated below: also too many requests, and a token that has ended, are
        // for this to get over. The registry is asked how far it is with a new one.
        let may_pass =
            |error: &Error| is_passing(error) || matches!(error.status(), Some(401 | 429));
        while may_pass(&error) && self.attempt < policy.limit {
            let wait = policy.wait(self.attempt, None, retry::random());
            upload.client.pause(wait)?;
            self.attempt += 1;
            let Ok(received) = upload.ask_received() else {
                return Err(error);
            };
            if !(self.start..=self.end).contains(&received) {
                return Err(error);
            }
            self.pipe = Some(upload.stream(&self.content, received));
            if self.replay(received) {
                return Ok(());
            }
            match self.answer(upload) {
                Err(next) => error = next,
                Ok(_) => return Err(error),
            }
        }
        Err(error)
    }

    /// Sends what is kept from the offset `from` on; `false` if the request has ended.
    fn replay(&self, from: u64) -> bool {
        let mut offset = self.start;
        for piece in &self.window {
            let skipped = usize::try_from(from.saturating_sub(offset)).unwrap_or(usize::MAX);
            offset += piece.len() as u64;
            let rest = match piece.get(skipped..) {
                Some([]) | None => continue,
                Some(_) if skipped == 0 => Arc::clone(piece),
                Some(rest) => rest.into(),
            };
            if !self.pipe.as_ref().is_some_and(|pipe| pipe.send(rest)) {
                return false;
            }
        }
        true
    }
}

/// The writing end of a request's body.
///
/// Dropping it before all bytes are in makes the reading end fail, so that the request is broken
/// off and the registry cannot take the blob for complete.
#[derive(Debug)]
pub(crate) struct Pipe {
    sender: Option<SyncSender<Arc<[u8]>>>,
    thread: Option<JoinHandle<Result<Response>>>,
}

impl Pipe {
    /// Starts a thread that makes `call` with a body of `len` bytes, which come through the pipe.
    pub(crate) fn open(client: &Client, mut call: Call, len: u64) -> Self {
        /// Pieces on their way; the writer waits when the network is slower.
        const PIECES: usize = 4;
        let (sender, receiver) = sync_channel(PIECES);
        call.body = Body::Stream {
            reader: Box::new(PipeReader {
                receiver,
                piece: io::Cursor::default(),
            }),
            len: Some(len),
        };
        let client = client.clone();
        let thread = thread::spawn(move || client.expect(call, &[200, 201, 204]));
        Self {
            sender: Some(sender),
            thread: Some(thread),
        }
    }

    /// Hands `piece` on; waits while the pipe is full. Returns `false` if nobody reads any more.
    fn send(&self, piece: Arc<[u8]>) -> bool {
        self.sender
            .as_ref()
            .is_some_and(|sender| sender.send(piece).is_ok())
    }

    /// Ends the body and waits for the answer.
    fn finish(mut self, upload: &Upload) -> Result<Response> {
        self.sender = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(answer)) => answer,
            Some(Err(_)) | None => Err(upload.broken("it made the thread that sends panic")),
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct PipeReader {
    receiver: Receiver<Arc<[u8]>>,
    piece: io::Cursor<Arc<[u8]>>,
}

impl Read for PipeReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let n_read = self.piece.read(buf)?;
            if n_read > 0 || buf.is_empty() {
                return Ok(n_read);
            }
            let Ok(piece) = self.receiver.recv() else {
                return Err(io::ErrorKind::ConnectionAborted.into());
            };
            self.piece = io::Cursor::new(piece);
        }
    }
}
