//! Objects of servers on this machine that answer as the real ones do.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share is outside their functions"
)]

mod opening;
mod server;
