//! Tests of the public interface: archives as other tools write them, and as we do.

#![expect(
    clippy::unwrap_used,
    reason = "the lint knows test functions, not what they call"
)]
#![expect(clippy::print_stdout, reason = "a test that is not run says so")]

mod fixture;
mod hostile;
mod interop;
mod layouts;
mod saved;
mod suite;
mod written;
