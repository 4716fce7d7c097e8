//! Tags and repositories, page by page.

use corten_content::Source as _;
use corten_registry::{Client, Part};
use corten_spec::media_type;
use corten_testing::Registry;
use corten_testing::registry::{Interposer, Request, Response, Step};

use crate::pull::INDEX;
use crate::{chain, repository_with, settings};

fn registry(page: usize, links: bool) -> Registry {
    let registry = Registry::start();
    registry.change(|options| (options.page, options.links) = (page, links));
    for number in 0..25 {
        let tag = format!("t{number:02}");
        registry.put_manifest("acme/app", &tag, media_type::OCI_INDEX, INDEX);
        registry.put_manifest(&format!("acme/{tag}"), "1", media_type::OCI_INDEX, INDEX);
    }
    registry
}

fn tags(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("t{number:02}")).collect()
}

fn part(after: Option<&str>, limit: Option<usize>) -> Part {
    Part {
        after: after.map(str::to_owned),
        limit,
    }
}

#[test]
fn parts_of_lists() {
    #[track_caller]
    fn check(page: usize, after: Option<&str>, limit: Option<usize>, expected: &[String]) {
        let registry = registry(page, true);
        let source = repository_with(settings(), registry.host(), "acme/app");
        assert_eq!(source.tags_of(&part(after, limit)).unwrap(), expected);
        // Whoever wants few asks for few.
        assert!(registry.lines().len() <= expected.len().div_ceil(page.max(1)) + 1);
    }
    check(7, None, None, &tags(0..25));
    check(25, None, None, &tags(0..25));
    check(1000, None, None, &tags(0..25));
    check(7, None, Some(10), &tags(0..10));
    check(7, Some("t09"), Some(3), &tags(10..13));
    check(7, Some("t091"), None, &tags(10..25));
    check(7, Some("z"), None, &[]);
    check(7, None, Some(0), &[]);
}

#[test]
fn a_full_page_without_a_link_goes_on_after_its_last_name() {
    #[track_caller]
    fn check(limit: usize, n_requests: usize) {
        // Pages as long as what is asked for, and nothing says that there is more.
        let registry = registry(5, false);
        let source = repository_with(settings(), registry.host(), "acme/app");
        let mut found = Vec::new();
        while let Ok(more) = source.tags_of(&part(found.last().map(String::as_str), Some(limit)))
            && !more.is_empty()
        {
            found.extend(more);
        }
        assert_eq!(found, tags(0..25));
        assert_eq!(registry.lines().len(), n_requests);
    }
    check(5, 6);
}

/// Takes what is asked for away, and turns the list around.
struct Disorderly;

impl Interposer for Disorderly {
    fn before(&mut self, request: &mut Request) -> Step {
        request.target = request.path().to_owned();
        Step::Pass
    }

    fn after(&mut self, _: &Request, response: &mut Response) {
        let mut list: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        list["tags"].as_array_mut().unwrap().reverse();
        response.body = list.to_string().into_bytes();
    }
}

#[test]
fn a_registry_without_pages_sends_all_in_no_order() {
    let registry = registry(1000, true);
    registry.interpose(Disorderly);
    let source = repository_with(settings(), registry.host(), "acme/app");
    let check = |after: Option<&str>, limit, expected: &[String]| {
        assert_eq!(source.tags_of(&part(after, limit)).unwrap(), expected);
    };
    check(Some("t09"), Some(3), &tags(10..13));
    check(Some("t09"), None, &tags(10..25));
    check(None, Some(3), &tags(0..3));
    assert_eq!(source.tags().unwrap().len(), 25);
}

#[test]
fn repositories() {
    let registry = registry(10, true);
    registry.put_blob("Not a name", b"x");
    let client = Client::new(settings()).unwrap();
    let found = client.catalog(registry.host(), &Part::default()).unwrap();
    let mut expected = vec!["acme/app".to_owned()];
    expected.extend(tags(0..25).into_iter().map(|tag| format!("acme/{tag}")));
    assert_eq!(found, expected);
    assert_eq!(
        client
            .catalog(registry.host(), &part(Some("acme/t23"), None))
            .unwrap(),
        ["acme/t24"]
    );
}

#[test]
fn a_repository_that_is_not_there_has_no_tags() {
    let registry = registry(10, true);
    let source = repository_with(settings(), registry.host(), "acme/none");
    let error = source.tags().unwrap_err();
    assert!(error.is_not_found(), "{}", chain(&error));
    assert!(chain(&error).contains(&source.place()));
}
