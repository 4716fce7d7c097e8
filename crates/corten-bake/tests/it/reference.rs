//! The page of reference says what the program does.

use std::collections::BTreeMap;

use corten_bake::{ATTRIBUTES, FUNCTIONS, REFUSED_FUNCTIONS, Support};

const PAGE: &str = include_str!("../../../../docs/reference/bake.md");

/// Returns the rows of the table under a heading: the name, and whether it is done.
fn rows(heading: &str) -> BTreeMap<String, String> {
    let start = PAGE.split(&format!("## {heading}\n")).nth(1).unwrap();
    let section = start.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once("` | ").unwrap();
        let state = rest.split(" | ").next().unwrap();
        (name.to_owned(), state.to_owned())
    })
    .collect()
}

#[test]
fn every_attribute_is_there() {
    let attributes = ATTRIBUTES.iter().map(|attribute| {
        let state = match attribute.support {
            Support::Done => "done",
            Support::Refused(_) => "refused",
        };
        (attribute.name.to_owned(), state.to_owned())
    });
    assert_eq!(rows("Attributes of targets"), attributes.collect());
}

#[test]
fn every_function_is_there() {
    let section = PAGE.split("## Functions\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let (done, refused) = section.split_once("Refused").unwrap();
    let names = |text: &str| -> Vec<String> {
        let words = text.split('`').skip(1).step_by(2);
        words.map(str::to_owned).collect()
    };
    assert_eq!(names(done), FUNCTIONS);
    assert_eq!(names(refused), REFUSED_FUNCTIONS);
}
