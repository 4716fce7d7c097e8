//! Tests of the public API: the tables are the specification of the language.

#![expect(
    clippy::unwrap_used,
    reason = "clippy allows it in tests, not in what they share"
)]

mod expand;
mod graph;
mod hostile;
mod ignore;
mod lint;
mod mounts;
mod parse;
mod plan;
mod resolve;
