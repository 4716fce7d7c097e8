//! What every place for content must do.

use corten_testing::content_suite::content_suite;

use crate::fake::{Fake, Quirks};
use crate::repository;

#[test]
fn a_repository_is_a_place_like_any_other() {
    content_suite(|_| repository(&Fake::start(Quirks::default())));
}
