//! The public interface of `corten-spec`.

#![expect(
    clippy::unwrap_used,
    reason = "the lint knows test functions, not what they call"
)]
#![expect(clippy::print_stdout, reason = "a test that is not run says so")]

mod peers;
