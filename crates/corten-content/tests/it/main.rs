//! The crate's public face, over every backend that it has.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backends;
mod copying;
mod fsck;
mod graphs;
mod layouts;
mod leases;
mod many;
mod usage;
