//! COPY: owners, modes, hard links, extended attributes and texts.

use crate::site::{Site, check, check_in};

#[test]
fn owners() {
    let context = "file 644 f F\nfile 644 d/s/g G";
    let check = |instructions: &str, expected: &str| check(instructions, context, expected);
    // What is in the context belongs to root; a user alone is a group of the same number.
    check("COPY f /x", "file 644 x F");
    check("COPY --chown=5:6 f /x", "file 644 5:6 x F");
    check("COPY --chown=5 f /x", "file 644 5:5 x F");
    check("COPY --chown=app f /x", "file 644 1000:1001 x F");
    check("COPY --chown=app:staff f /x", "file 644 1000:50 x F");
    check("COPY --chown=1000:staff f /x", "file 644 1000:50 x F");
    check("COPY --chown=$who f /x", "file 644 x F");
    check(
        "ARG who=app\nCOPY --chown=$who f /x",
        "file 644 1000:1001 x F",
    );
    // USER does not matter. Parents that come to be have the same owner.
    check("USER app\nCOPY f /x", "file 644 x F");
    check(
        "COPY --chown=5 f /new/deep/x",
        "dir 755 5:5 new\ndir 755 5:5 new/deep\nfile 644 5:5 new/deep/x F",
    );
    check(
        "COPY --chown=5 d /new/deep",
        "dir 755 5:5 new\ndir 755 5:5 new/deep\ndir 755 5:5 new/deep/s\nfile 644 5:5 new/deep/s/g G",
    );
    check(
        "COPY --chown=5 d /tmp",
        "dir 755 5:5 tmp/s\nfile 644 5:5 tmp/s/g G",
    );
}

#[test]
fn an_unknown_owner() {
    // As for BuildKit. It is not silent, unlike there.
    let site = Site::new("file 644 f F");
    check_in(&site, "COPY --chown=nobody:none f /x", "file 644 x F");
    let warnings = [
        "warning: `nobody:none`: the image's `/etc/passwd` has no user called `nobody`: it is taken for root",
        "warning: `nobody:none`: the image's `/etc/group` has no group called `none`: the group is left to the user",
    ];
    assert_eq!(site.events()[..2], warnings);
    check_in(
        &site,
        "COPY --chown=app:none f /x",
        "file 644 1000:1001 x F",
    );
    let built = site.build("FROM scratch\nCOPY --chown=root:root f /x\n");
    assert_eq!(site.listing(&built), "file 644 x F");
    assert!(site.events().iter().all(|event| !event.contains("warning")));
}

#[test]
fn modes() {
    let context = "file 644 f F\nfile 4755 suid S\nfile 600 d/g G\nfile 711 d/x X\ndir 700 d/s";
    let check = |instructions: &str, expected: &str| check(instructions, context, expected);
    check("COPY suid /x", "file 4755 x S");
    check("COPY --chmod=600 suid /x", "file 600 x S");
    check("COPY --chmod=4711 f /x", "file 4711 x F");
    check("COPY --chmod=0755 f /x", "file 755 x F");
    // The directory that is made for the destination gets the permissions too, without set-id bits.
    check(
        "COPY --chmod=4711 f /new/x",
        "dir 711 new\nfile 4711 new/x F",
    );
    check("COPY --chmod=750 f /home/app/x", "file 750 home/app/x F");
    check(
        "COPY --chmod=750 d /new",
        "dir 750 new\nfile 750 new/g G\ndir 750 new/s\nfile 750 new/x X",
    );
    check(
        "COPY --chmod=u=rwX,go=rX d /new",
        "dir 755 new\nfile 644 new/g G\ndir 755 new/s\nfile 755 new/x X",
    );
    check("COPY --chmod=+x f /new/x", "dir 755 new\nfile 755 new/x F");
    check("ARG m=700\nCOPY --chmod=$m f /x", "file 700 x F");
}

#[test]
fn hard_links() {
    let context = "file 644 d/a A\nhard d/b d/a\nhard d/s/c d/a\nfile 644 d/z Z\nhard out d/a";
    check(
        "COPY d /x",
        context,
        "dir 755 x\nfile 644 x/a A\nhard x/b x/a\ndir 755 x/s\nhard x/s/c x/a\nfile 644 x/z Z",
    );
    check("COPY d/a /x", context, "file 644 x A");
    check(
        "COPY --chown=7 d /tmp",
        context,
        "
        file 644 7:7 tmp/a A
        hard tmp/b tmp/a
        dir 755 7:7 tmp/s
        hard tmp/s/c tmp/a
        file 644 7:7 tmp/z Z
    ",
    );
    // One source knows nothing of another.
    for instructions in ["COPY d/a /x/\nCOPY d/b /x/", "COPY d/a d/b /x/"] {
        check(
            instructions,
            context,
            "dir 755 x\nfile 644 x/a A\nfile 644 x/b A",
        );
    }
}

#[test]
fn extended_attributes() {
    check(
        "COPY f /x",
        "file 644 f F\nxattr f user.note hello\nxattr f user.a b",
        "file 644 x F\nxattr x user.a b\nxattr x user.note hello",
    );
    check(
        "COPY d /x",
        "dir 755 d\nxattr d user.note hello\nfile 644 d/f F",
        "dir 755 x\nfile 644 x/f F",
    );
    check(
        "COPY d /x",
        "dir 755 d/s\nxattr d/s user.note hello\nfile 644 d/s/f F",
        "dir 755 x\ndir 755 x/s\nxattr x/s user.note hello\nfile 644 x/s/f F",
    );
}

#[test]
fn texts() {
    check(
        "
        ARG name=world
        COPY <<EOF /x
        hello $name
          indented
        EOF
        ",
        "",
        "file 644 x hello world\\n  indented\\n",
    );
    check(
        "
        ARG name=world
        COPY <<'EOF' /d/
        hello $name
        EOF
        ",
        "",
        "dir 755 d\nfile 644 d/EOF hello $name\\n",
    );
    check(
        "
        COPY --chmod=755 --chown=5 <<one f <<two /d/
        1
        one
        2
        two
        ",
        "file 600 f F",
        "dir 755 5:5 d\nfile 755 5:5 d/f F\nfile 755 5:5 d/one 1\\n\nfile 755 5:5 d/two 2\\n",
    );
    check(
        "
        ADD <<-EOF /x
        \tline
        EOF
        ",
        "",
        "file 644 x line\\n",
    );
    check("COPY <<EOF /x\nEOF", "", "file 644 x");
}

#[test]
fn layers_keep_what_they_do_not_change() {
    let mut site = Site::new("file 644 f F");
    site.image(
        "base",
        &[
            "dir 2750 3:4 srv\nfile 644 9:9 srv/old O",
            "file 644 srv/two 2",
        ],
        |_| {},
    );
    check_in(
        &site,
        "COPY f /srv/f\nCOPY f /srv/two",
        "file 644 srv/f F\nfile 644 srv/two F",
    );
}
