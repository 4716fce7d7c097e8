//! A reader that reads ahead on a thread of its own.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

/// Large enough that handing a piece over costs nothing beside filling it.
const PIECE: usize = 256 << 10;
/// How many pieces wait at most, which bounds the memory.
const PIECES: usize = 4;

/// What a thread read ahead.
pub(crate) struct ReadAhead {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
    position: usize,
    ended: bool,
}

impl ReadAhead {
    /// Starts a thread that reads `inner` to its end, or until this reader is dropped.
    pub(crate) fn spawn<'scope>(
        scope: &'scope Scope<'scope, '_>,
        inner: impl Read + Send + 'scope,
    ) -> Self {
        let (full_sender, full) = sync_channel(PIECES);
        let (empty, empty_receiver) = sync_channel(PIECES + 1);
        scope.spawn(move || read_pieces(inner, &full_sender, &empty_receiver));
        Self {
            full,
            empty,
            piece: Vec::new(),
            position: 0,
            ended: false,
        }
    }
}

fn read_pieces(
    mut inner: impl Read,
    full: &SyncSender<io::Result<Vec<u8>>>,
    empty: &Receiver<Vec<u8>>,
) {
    loop {
        let mut piece = empty.try_recv().unwrap_or_default();
        piece.clear();
        let result = inner.by_ref().take(PIECE as u64).read_to_end(&mut piece);
        let is_last = !matches!(result, Ok(n_read) if n_read > 0);
        // Whoever reads may have stopped: then nobody wants the rest.
        if full.send(result.map(|_| piece)).is_err() || is_last {
            return;
        }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.position == self.piece.len() && !self.ended {
            let spent = std::mem::take(&mut self.piece);
            self.position = 0;
            // A full queue of empty pieces means there are enough of them.
            let _not_needed = self.empty.try_send(spent);
            match self.full.recv() {
                Ok(piece) => self.piece = piece?,
                Err(_) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
            self.ended = self.piece.is_empty();
        }
        let rest = self.piece.get(self.position..).unwrap_or_default();
        let n_read = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n_read), rest.get(..n_read)) {
            to.copy_from_slice(from);
        }
        self.position += n_read;
        Ok(n_read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }

    #[test]
    fn everything_comes_in_order_and_errors_too() {
        let content: Vec<u8> = (0..3_000_000_u32)
            .map(|number| (number % 251) as u8)
            .collect();
        std::thread::scope(|scope| {
            let mut read = Vec::new();
            ReadAhead::spawn(scope, content.as_slice())
                .read_to_end(&mut read)
                .unwrap();
            assert_eq!(read, content);

            let mut reader = ReadAhead::spawn(scope, content.as_slice().chain(Broken));
            let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        });
    }

    #[test]
    fn a_reader_that_is_dropped_ends_its_thread() {
        std::thread::scope(|scope| {
            drop(ReadAhead::spawn(scope, io::repeat(1)));
        });
    }
}
