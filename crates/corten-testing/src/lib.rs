//! Builders of images, layers and backends for tests, and a runner of tests.

pub mod content_suite;
pub mod harness;
pub mod image;

pub use image::Image;
