//! The bytes of the layers.

use std::fs;
use std::io::{BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;

use corten_spec::Digest;
use corten_tar::{DecodeLimits, Decoder, EntryKind, Limits, Reader};

use crate::site::{Site, check_error};

/// Returns the entries of each layer that was added to the base.
fn entries(dockerfile: &str, context: &str) -> Vec<Vec<String>> {
    let site = Site::new(context);
    let built = site.build(dockerfile);
    let mut shown = Vec::new();
    for layer in site.layers(&built).iter().skip(1) {
        let blob = fs::File::open(site.store.blob_path(&layer.blob.digest)).unwrap();
        let mut tar = Vec::new();
        let mut decoder = Decoder::new(Box::new(blob), DecodeLimits::default()).unwrap();
        decoder.read_to_end(&mut tar).unwrap();
        assert_eq!(Digest::sha256(&tar), layer.diff_id.0);
        let mut reader = Reader::new(BufReader::new(&*tar), Limits::default());
        let mut names = Vec::new();
        while let Some(located) = reader.next_entry().unwrap() {
            let entry = located.entry;
            let path = String::from_utf8(entry.path).unwrap();
            let link = String::from_utf8(entry.link).unwrap();
            names.push(match entry.kind {
                EntryKind::HardLink => format!("{path} = {link}"),
                EntryKind::Symlink => format!("{path} -> {link}"),
                _ => path,
            });
        }
        reader.finish().unwrap();
        shown.push(names);
    }
    shown
}

#[test]
fn what_a_layer_has_entries_for() {
    let long = "n".repeat(200);
    let context =
        format!("file 644 d/b B\nhard d/c d/b\nlink d/é {long}/{long}\nfile 644 d/{long} x");
    let found = entries(
        "FROM base\nCOPY d /lib/x/y\nCOPY d/b /home/app/\nWORKDIR /tmp\n",
        &context,
    );
    let expected = [
        vec![
            "usr/".to_owned(),
            "usr/lib/".to_owned(),
            "usr/lib/x/".to_owned(),
            "usr/lib/x/y/".to_owned(),
            "usr/lib/x/y/b".to_owned(),
            "usr/lib/x/y/c = usr/lib/x/y/b".to_owned(),
            format!("usr/lib/x/y/{long}"),
            format!("usr/lib/x/y/é -> {long}/{long}"),
        ],
        ["home/", "home/app/", "home/app/b"]
            .map(str::to_owned)
            .to_vec(),
        // Nothing was to be done, and that is a layer.
        Vec::new(),
    ];
    assert_eq!(found, expected);
}

#[test]
fn names_that_would_be_whiteouts() {
    let context = "file 644 f F\nfile 644 d/sub/.wh.gone x";
    let expected = |path: &str| {
        format!(
            "Dockerfile:2: `COPY d /x` failed\n`{path}` cannot be put into a layer: \
             a name that begins with `.wh.` means a deletion in every layer"
        )
    };
    check_error("COPY d /x", context, &expected("x/sub/.wh.gone"));
    // It matters only where it is copied.
    crate::site::check("COPY f /x", context, "file 644 x F");
    let site = Site::new(context).ignore("**/.wh.*");
    crate::site::check_in(&site, "COPY d /x", "dir 755 x\ndir 755 x/sub");
}

#[test]
fn sockets_are_empty_files() {
    let site = Site::new("file 644 d/f F");
    let _socket = std::os::unix::net::UnixListener::bind(site.path("d/s")).unwrap();
    fs::set_permissions(site.path("d/s"), fs::Permissions::from_mode(0o640)).unwrap();
    crate::site::check_in(
        &site,
        "COPY d /x",
        "dir 755 x\nfile 644 x/f F\nfile 640 x/s",
    );
}
