//! What is fetched from elsewhere for a build: git repositories and files by HTTP.

pub(crate) mod download;
pub(crate) mod git;
