//! Tests of the public interface.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share is outside their functions"
)]

mod buildx;
mod composed;
mod hostile;
mod reference;
mod refused;
