//! The rules of layers, held against the tree, its writers and its readers.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::format_push_string,
    reason = "tests fail by panicking, say what did not run, and write files that only they read"
)]

mod containment;
mod erofs;
mod host;
mod minimal;
mod overlay;
mod owners;
mod peers;
mod random;
mod roundtrip;
mod rules;
mod section11;
mod sketch;
mod snapshot;
mod suite;
mod upper;
mod writing;
