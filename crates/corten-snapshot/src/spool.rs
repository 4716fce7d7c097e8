//! Bytes on their way from one thread to another that seldom keep the first one waiting: in memory, beyond
//! a bound in files without names, and where there is no space for those, not before the other is there.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Large enough that handing a piece over costs nothing beside filling it.
const PIECE: usize = 256 << 10;
/// How long a file gets before the next one is begun: its space is free once all of it is read.
const FILE: usize = 4 << 20;
/// How many bytes the files of all spools of a build have. With [`FILE`], it bounds how many are open.
const ON_DISK: usize = 512 << 20;

/// The memory and the disk that all spools of a build share.
#[derive(Debug)]
pub struct Room {
    memory: AtomicUsize,
    disk: AtomicUsize,
    left_free: u64,
}

impl Room {
    /// Returns room for so many bytes in memory, and for 512 MiB on the disk where that leaves
    /// `left_free` bytes of it to others.
    pub fn new(bytes: usize, left_free: u64) -> Self {
        Self {
            memory: AtomicUsize::new(bytes),
            disk: AtomicUsize::new(ON_DISK),
            left_free,
        }
    }

    fn give(&self, bytes: usize) {
        self.memory.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn take(room: &AtomicUsize, bytes: usize) -> bool {
    let fewer = |left: usize| left.checked_sub(bytes);
    room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer)
        .is_ok()
}

/// Returns the two ends of a spool, which says `T` at its end. `file` is a path that nobody uses: what
/// `room` does not hold goes there, and its name is gone as soon as it is open, so that nothing is left
/// of a process that is killed.
pub(crate) fn spool<T>(room: Arc<Room>, file: PathBuf) -> (SpoolWriter<T>, SpoolReader<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            pieces: VecDeque::new(),
            end: End::Open,
            is_read: true,
        }),
        changed: Condvar::new(),
        room,
    });
    let writer = SpoolWriter {
        shared: Arc::clone(&shared),
        piece: Vec::new(),
        path: file,
        file: None,
    };
    let reader = SpoolReader {
        shared,
        piece: io::Cursor::default(),
        in_memory: 0,
    };
    (writer, reader)
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    room: Arc<Room>,
}

struct State<T> {
    pieces: VecDeque<Piece>,
    end: End<T>,
    /// Whether somebody will read it.
    is_read: bool,
}

enum Piece {
    /// In memory; whether room was taken for it.
    Memory(Vec<u8>, bool),
    File(Arc<SpoolFile>, u64, usize),
}

enum End<T> {
    /// More may come.
    Open,
    /// Everything was written.
    Whole(T),
    /// The writer gave up.
    Abandoned,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that is written to. Dropped without [`finish`](Self::finish), it tells the other end so.
pub(crate) struct SpoolWriter<T> {
    shared: Arc<Shared<T>>,
    piece: Vec<u8>,
    path: PathBuf,
    file: Option<Arc<SpoolFile>>,
}

impl<T> SpoolWriter<T> {
    /// Says that this was all.
    pub(crate) fn finish(mut self, value: T) -> io::Result<()> {
        self.hand_over()?;
        self.shared.lock().end = End::Whole(value);
        self.shared.changed.notify_all();
        Ok(())
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.piece);
        if bytes.is_empty() {
            return Ok(());
        }
        let piece = if take(&self.shared.room.memory, bytes.len()) {
            Piece::Memory(bytes, true)
        } else {
            let written = self.write_down(&bytes)?;
            written.unwrap_or_else(|| {
                self.wait_for_reader();
                Piece::Memory(bytes, false)
            })
        };
        let mut state = self.shared.lock();
        if state.is_read {
            state.pieces.push_back(piece);
        } else if let Piece::Memory(bytes, true) = piece {
            self.shared.room.give(bytes.len());
        }
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Returns `None` where there is no space for `bytes`. The file is let go of then, so that its
    /// space is free as soon as what it has is read.
    fn write_down(&mut self, bytes: &[u8]) -> io::Result<Option<Piece>> {
        let written = self.put(bytes);
        match written {
            Err(error) if is_full(&error) => Ok(None),
            written => written,
        }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<Option<Piece>> {
        let file = match self.file.take() {
            Some(file) if file.len() + bytes.len() <= FILE => file,
            _ => Arc::new(SpoolFile::create(&self.path, &self.shared.room)?),
        };
        let Some(offset) = file.append(bytes)? else {
            return Ok(None);
        };
        self.file = Some(Arc::clone(&file));
        Ok(Some(Piece::File(file, offset, bytes.len())))
    }

    /// The disk may still have space for the blob: then the tar is written as fast as it is compressed.
    fn wait_for_reader(&self) {
        let is_behind = |state: &mut State<T>| state.is_read && !state.pieces.is_empty();
        let waited = self
            .shared
            .changed
            .wait_while(self.shared.lock(), is_behind);
        drop(waited);
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// A file without a name. What it has counts until the last who knows it lets go of it.
struct SpoolFile {
    file: File,
    len: AtomicUsize,
    room: Arc<Room>,
}

impl SpoolFile {
    fn create(path: &Path, room: &Arc<Room>) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        fs::remove_file(path)?;
        Ok(Self {
            file,
            len: AtomicUsize::new(0),
            room: Arc::clone(room),
        })
    }

    fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Returns where `bytes` were written; `None` if that would leave too little to others.
    fn append(&self, bytes: &[u8]) -> io::Result<Option<u64>> {
        let disk = rustix::fs::fstatvfs(&self.file)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < self.room.left_free || !take(&self.room.disk, bytes.len()) {
            return Ok(None);
        }
        // Counted before it is written: half of it may be there after an error.
        let offset = self.len.fetch_add(bytes.len(), Ordering::Relaxed) as u64;
        self.file.write_all_at(bytes, offset)?;
        Ok(Some(offset))
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        self.room.disk.fetch_add(self.len(), Ordering::Relaxed);
    }
}

impl<T> Write for SpoolWriter<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.piece.len() >= PIECE {
            self.hand_over()?;
        }
        let n_taken = buf.len().min(PIECE - self.piece.len());
        self.piece
            .extend_from_slice(buf.get(..n_taken).unwrap_or_default());
        Ok(n_taken)
    }

    /// Does nothing: who reads waits for whole pieces.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T> Drop for SpoolWriter<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if matches!(state.end, End::Open) {
            state.end = End::Abandoned;
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

/// The end that is read from: it ends where the writer has finished, and fails where it gave up.
pub(crate) struct SpoolReader<T> {
    shared: Arc<Shared<T>>,
    piece: io::Cursor<Vec<u8>>,
    /// How many bytes of room the piece holds.
    in_memory: usize,
}

impl<T> SpoolReader<T> {
    /// Returns what the writer said at the end, once it was reached.
    pub(crate) fn into_end(self) -> Option<T> {
        match std::mem::replace(&mut self.shared.lock().end, End::Abandoned) {
            End::Whole(value) => Some(value),
            End::Open | End::Abandoned => None,
        }
    }

    /// Tells whether the writer gave up.
    pub(crate) fn is_abandoned(&self) -> bool {
        matches!(self.shared.lock().end, End::Abandoned)
    }

    /// Waits for the next piece; `None` at the end.
    fn next(&self) -> io::Result<Option<Piece>> {
        let is_waiting =
            |state: &mut State<T>| state.pieces.is_empty() && matches!(state.end, End::Open);
        let state = self
            .shared
            .changed
            .wait_while(self.shared.lock(), is_waiting);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if matches!(state.end, End::Abandoned) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(state.pieces.pop_front())
    }

    fn release(&mut self) {
        self.shared.room.give(std::mem::take(&mut self.in_memory));
    }
}

impl<T> Read for SpoolReader<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let n_read = self.piece.read(buf)?;
            if n_read > 0 || buf.is_empty() {
                return Ok(n_read);
            }
            self.release();
            let Some(piece) = self.next()? else {
                return Ok(0);
            };
            self.shared.changed.notify_all();
            self.piece = io::Cursor::new(match piece {
                Piece::Memory(bytes, has_room) => {
                    self.in_memory = if has_room { bytes.len() } else { 0 };
                    bytes
                }
                Piece::File(file, offset, len) => {
                    let mut bytes = vec![0; len];
                    file.file.read_exact_at(&mut bytes, offset)?;
                    bytes
                }
            });
        }
    }
}

impl<T> Drop for SpoolReader<T> {
    fn drop(&mut self) {
        self.release();
        let mut state = self.shared.lock();
        state.is_read = false;
        for piece in state.pieces.drain(..) {
            if let Piece::Memory(bytes, true) = piece {
                self.shared.room.give(bytes.len());
            }
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl<T> fmt::Debug for SpoolWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolWriter").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SpoolReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolReader").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Vec<u8> {
        let numbers = 0..3_000_000_u32;
        numbers.map(|number| (number % 251) as u8).collect()
    }

    /// Everything is written before anything is read: the writer never waits, whatever there is room for.
    #[test]
    fn everything_comes_in_order() {
        #[track_caller]
        fn check(bytes_of_room: usize) {
            let directory = tempfile::tempdir().unwrap();
            let room = Arc::new(Room::new(bytes_of_room, 0));
            let (mut writer, mut reader) = spool(Arc::clone(&room), directory.path().join("a"));
            writer.write_all(&content()).unwrap();
            writer.finish("end").unwrap();
            let names = fs::read_dir(directory.path()).unwrap().count();
            assert_eq!(names, 0, "{bytes_of_room}");
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            assert!(read == content(), "{bytes_of_room}");
            assert_eq!(reader.into_end(), Some("end"));
            assert_eq!(room.memory.load(Ordering::Relaxed), bytes_of_room);
        }
        check(0);
        check(1 << 20);
        check(64 << 20);
    }

    #[test]
    fn memory_is_used_again_after_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let room = Arc::new(Room::new(PIECE, 0));
        let (mut writer, mut reader) = spool(room, directory.path().join("a"));
        // The last piece stays with the writer until it knows that more comes.
        writer.write_all(&vec![7; PIECE]).unwrap();
        let mut read = vec![0; 4 * PIECE];
        for _ in 0..3 {
            writer.write_all(&vec![7; 4 * PIECE]).unwrap();
            reader.read_exact(&mut read).unwrap();
            assert!(read.iter().all(|&byte| byte == 7));
        }
        assert_eq!(writer.file.as_ref().unwrap().len(), 9 * PIECE);
        writer.finish(()).unwrap();
        assert_eq!(reader.read_to_end(&mut read).unwrap(), PIECE);
    }

    #[test]
    fn files_have_no_more_than_there_is_room_for() {
        #[track_caller]
        fn check(bytes_on_disk: usize) {
            let directory = tempfile::tempdir().unwrap();
            let room = Arc::new(Room {
                memory: AtomicUsize::new(0),
                disk: AtomicUsize::new(bytes_on_disk),
                left_free: 0,
            });
            let (mut writer, mut reader) = spool(Arc::clone(&room), directory.path().join("a"));
            let mut read = Vec::new();
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    writer.write_all(&content()).unwrap();
                    writer.finish(()).unwrap();
                });
                reader.read_to_end(&mut read).unwrap();
            });
            assert!(read == content(), "{bytes_on_disk}");
            drop(reader);
            assert_eq!(room.disk.load(Ordering::Relaxed), bytes_on_disk);
        }
        check(0);
        check(PIECE);
        check(3 * PIECE);
    }

    #[test]
    fn a_file_is_gone_once_it_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let room = Arc::new(Room::new(0, 0));
        let (mut writer, mut reader) = spool(Arc::clone(&room), directory.path().join("a"));
        writer.write_all(&vec![7; 2 * FILE + 2 * PIECE]).unwrap();
        let left = || ON_DISK - room.disk.load(Ordering::Relaxed);
        assert_eq!(left(), 2 * FILE + PIECE);
        reader.read_exact(&mut vec![0; 2 * FILE]).unwrap();
        assert_eq!(left(), PIECE);
        writer.finish(()).unwrap();
        reader.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(left(), 0);
    }

    #[test]
    fn who_reads_hears_that_the_writer_gave_up() {
        let directory = tempfile::tempdir().unwrap();
        let room = Arc::new(Room::new(1 << 20, 0));
        let (mut writer, mut reader) = spool::<()>(Arc::clone(&room), directory.path().join("a"));
        writer.write_all(&content()).unwrap();
        drop(writer);
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(reader.is_abandoned());
        drop(reader);
        assert_eq!(room.memory.load(Ordering::Relaxed), 1 << 20);
    }

    #[test]
    fn who_writes_goes_on_without_a_reader() {
        let directory = tempfile::tempdir().unwrap();
        let room = Arc::new(Room::new(1 << 20, 0));
        let (mut writer, reader) = spool(Arc::clone(&room), directory.path().join("a"));
        writer.write_all(&content()).unwrap();
        drop(reader);
        writer.write_all(&content()).unwrap();
        writer.finish(()).unwrap();
        assert_eq!(room.memory.load(Ordering::Relaxed), 1 << 20);
    }
}
