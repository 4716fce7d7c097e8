//! Archives that cannot be read at random, made files that can.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use corten_tar::{Decoder, Encoding, sniff};

use crate::archive::ReadOptions;
use crate::{Error, Result};

/// Opens the tar at `path`; one that is compressed, or a pipe, is copied first.
pub(crate) fn open(path: &Path, place: &str, options: &ReadOptions) -> Result<File> {
    let file = File::open(path).map_err(Error::system("open", path))?;
    let failed = Error::system("read", path);
    let is_plain = file.metadata().and_then(|metadata| {
        let mut prefix = [0; 10];
        // A short read only hides a compression whose magic was cut off, hence a damaged one.
        Ok(metadata.is_file() && {
            let n_read = file.read_at(&mut prefix, 0)?;
            sniff(prefix.get(..n_read).unwrap_or_default()) == Encoding::Identity
        })
    });
    if is_plain.map_err(failed)? {
        return Ok(file);
    }
    copy(Box::new(file), place, options)
}

/// Copies the tar in `stream`, decompressed, to a file that has no name and goes with its handle.
pub(crate) fn copy(
    stream: Box<dyn Read + Send + '_>,
    place: &str,
    options: &ReadOptions,
) -> Result<File> {
    let unreadable = |source| Error::Read {
        place: place.to_owned(),
        source,
    };
    let mut decoder = Decoder::new(stream, options.decoding).map_err(unreadable)?;
    let mut file = tempfile::tempfile_in(&options.scratch)
        .map_err(Error::system("create a file in", &options.scratch))?;
    let maximum = options.limits.total_bytes;
    let mut buf = vec![0; 256 << 10];
    let mut copied = 0;
    loop {
        let n_read = match decoder.read(&mut buf) {
            Ok(0) => return Ok(file),
            Ok(n_read) => n_read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(corten_tar::Error::read(copied, error))),
        };
        copied += n_read as u64;
        if copied > maximum {
            return Err(unreadable(corten_tar::Error::Limit {
                limit: "total_bytes",
                maximum,
            }));
        }
        file.write_all(buf.get(..n_read).unwrap_or_default())
            .map_err(Error::system("write a file in", &options.scratch))?;
    }
}
