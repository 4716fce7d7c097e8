//! The shared suite over memory, layout and store.

use corten_content::{Durability, Layout, Memory, Store};
use corten_testing::content_suite::content_suite;

#[test]
fn memory() {
    content_suite(|_| Memory::new());
}

#[test]
fn layout() {
    content_suite(|dir| Layout::create(dir, Durability::None).unwrap());
}

#[test]
fn store() {
    content_suite(|dir| Store::open(dir).unwrap());
}
