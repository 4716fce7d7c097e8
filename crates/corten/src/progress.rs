//! What is shown while something takes its time.

mod build;
mod transfers;

pub(crate) use build::{BuildView, Style};
pub(crate) use transfers::Transfers;
