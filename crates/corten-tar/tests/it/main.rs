//! The public interface of `corten-tar`.

#![expect(
    clippy::unwrap_used,
    reason = "the lint knows test functions, not what they call"
)]
#![expect(clippy::print_stdout, reason = "a test that is not run says so")]

mod archive;
mod compressed;
mod gnu_tar;
mod hostile;
mod limits;
mod malformed;
mod meaning;
mod other_readers;
mod quirks;
mod round_trip;
mod same_bytes;
mod sparse;
mod written;
