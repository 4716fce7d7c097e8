//! The crate's public face, over stores in temporary directories and content in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod archive;
mod broken;
mod converting;
mod files;
mod hostile;
mod importing;
mod layouts;
mod outlining;
mod schemas;
mod squashing;
mod validating;
mod world;
