//! What is fetched from elsewhere for a build: git repositories and files by HTTP.

mod add;
pub(crate) mod authorization;
pub(crate) mod download;
pub(crate) mod git;
pub(crate) mod objects;

pub(crate) use add::Fetcher;
