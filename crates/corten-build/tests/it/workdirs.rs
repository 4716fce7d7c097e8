//! WORKDIR: the directory is there, and whose it is.

use crate::site::{Site, check, check_error};

#[test]
fn directories_that_are_made() {
    let check = |instructions: &str, expected: &str| check(instructions, "", expected);
    check("WORKDIR /a/b", "dir 755 a\ndir 755 a/b");
    check(
        "WORKDIR /a\nWORKDIR b\nWORKDIR ../c",
        "dir 755 a\ndir 755 a/b\ndir 755 a/c",
    );
    check("WORKDIR rel/sub", "dir 755 rel\ndir 755 rel/sub");
    check(
        "USER app\nWORKDIR /a/b",
        "dir 755 1000:1001 a\ndir 755 1000:1001 a/b",
    );
    check("USER 7\nWORKDIR /a", "dir 755 7:7 a");
    // Nobody needs to know who a USER is before something is run.
    check("USER who\nWORKDIR /a", "dir 755 a");
    check("USER app:which\nWORKDIR /a", "dir 755 1000:1001 a");
    check("USER 7:staff\nWORKDIR /a", "dir 755 7:50 a");
    check("WORKDIR /lib/../a", "dir 755 a");
    check("USER 7:8\nWORKDIR /home/app/x", "dir 755 7:8 home/app/x");
    check("ENV D=x\nWORKDIR /$D", "dir 755 x");
    check("WORKDIR /lib/x", "dir 755 usr/lib/x");
    // One that is there stays as it is, even behind a link.
    check("USER 7\nWORKDIR /home/app", "");
    check("WORKDIR /lib", "");
    check("WORKDIR /", "");
}

#[test]
fn a_file_in_the_way() {
    check_error(
        "WORKDIR /etc/old/x",
        "",
        "
        error: `/etc/old/x` leads through something that is no directory
         --> Dockerfile:2:1
          |
        2 | WORKDIR /etc/old/x
          | ^^^^^^^^^^^^^^^^^^
        ",
    );
}

#[test]
fn config_and_history() {
    let site = Site::new("");
    let built = site.build("FROM base\nWORKDIR /a\nWORKDIR b\nWORKDIR /etc\nWORKDIR /\n");
    let config = site.config(&built);
    assert_eq!(config["config"]["WorkingDir"], "/");
    let empty: Vec<_> = config["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            (
                entry["created_by"].as_str().unwrap(),
                entry["empty_layer"].as_bool().unwrap_or(false),
            )
        })
        .collect();
    assert_eq!(
        empty,
        [
            ("WORKDIR /a", false),
            ("WORKDIR /a/b", false),
            ("WORKDIR /etc", false),
            ("WORKDIR /", true)
        ]
    );
    assert_eq!(site.layers(&built).len(), 4);
    // A second build finds the same, also that nothing was to be done.
    assert_eq!(
        site.build("FROM base\nWORKDIR /a\nWORKDIR b\nWORKDIR /etc\nWORKDIR /\n")
            .manifest
            .platform,
        built.manifest.platform
    );
    let is_cached: Vec<_> = site
        .events()
        .iter()
        .map(|event| event.ends_with("CACHED"))
        .collect();
    assert_eq!(is_cached, [true, true, true, false]);
}
