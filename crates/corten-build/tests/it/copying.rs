//! COPY: which path becomes which.

use crate::site::{Site, check, check_error, check_error_in, check_in};

#[test]
fn one_source() {
    let context = "
        file 640 a.txt A
        dir 750 d
        file 600 d/f F
        dir 711 d/sub
        file 644 d/sub/g G
        link d/l f
        link d/dangling /not/there
        fifo 644 d/p
    ";
    let check = |instructions: &str, expected: &str| check(instructions, context, expected);
    // A file becomes a file, or lies in a directory that is there or is asked for with a slash.
    check("COPY a.txt /b", "file 640 b A");
    check("COPY a.txt /new/", "dir 755 new\nfile 640 new/a.txt A");
    check("COPY a.txt /home/app", "file 640 home/app/a.txt A");
    check("COPY a.txt /", "file 640 a.txt A");
    check("COPY /a.txt ./x/y", "dir 755 x\nfile 640 x/y A");
    check("COPY ../../a.txt /b", "file 640 b A");
    check("COPY a.txt /etc/old", "file 640 etc/old A");
    check("COPY d/f .", "file 600 f F");
    check("WORKDIR /w\nCOPY a.txt .", "dir 755 w\nfile 640 w/a.txt A");
    check(
        "WORKDIR /w\nCOPY a.txt b/c",
        "dir 755 w\ndir 755 w/b\nfile 640 w/b/c A",
    );
    // Of a directory the content is copied; a new destination is like any parent that is made.
    let content = "
        link x/dangling /not/there
        file 600 x/f F
        link x/l f
        fifo 644 x/p
        dir 711 x/sub
        file 644 x/sub/g G
    ";
    check("COPY d /x", &format!("dir 755 x\n{content}"));
    check("COPY d/ /x/", &format!("dir 755 x\n{content}"));
    let into_home = content.replace(" x/", " home/app/");
    check("COPY d /home/app", &into_home);
    check(
        "COPY d/sub /new/deep",
        "dir 755 new\ndir 755 new/deep\nfile 644 new/deep/g G",
    );
    check("COPY d/sub /", "file 644 g G");
}

#[test]
fn the_root_of_the_context() {
    let context = "file 644 a A\nfile 644 d/b B";
    check(
        "COPY . /home/app",
        context,
        "file 644 home/app/a A\ndir 755 home/app/d\nfile 644 home/app/d/b B",
    );
    check(
        "COPY / /new",
        context,
        "dir 755 new\nfile 644 new/a A\ndir 755 new/d\nfile 644 new/d/b B",
    );
    check(
        "COPY . .",
        context,
        "file 644 a A\ndir 755 d\nfile 644 d/b B",
    );
    // Nothing is in it, and the layer is there all the same or not: the image is the base.
    check("COPY . /", "", "");
    check("COPY . /tmp", "", "");
}

#[test]
fn several_sources() {
    let context = "file 644 a A\nfile 644 b B\nfile 644 d/c C\nfile 644 e/a other";
    check(
        "COPY a b /x/",
        context,
        "dir 755 x\nfile 644 x/a A\nfile 644 x/b B",
    );
    check(
        "COPY a d /x/",
        context,
        "dir 755 x\nfile 644 x/a A\nfile 644 x/c C",
    );
    check(
        "COPY a b /tmp",
        context,
        "file 644 tmp/a A\nfile 644 tmp/b B",
    );
    check(
        "COPY [\"a\", \"b\", \"/x y/\"]",
        context,
        "dir 755 x y\nfile 644 x y/a A\nfile 644 x y/b B",
    );
    // The later one wins.
    check("COPY a e/a /x/", context, "dir 755 x\nfile 644 x/a other");
    check("COPY a e /x/", context, "dir 755 x\nfile 644 x/a other");
    // Without a directory the last one stays, as for BuildKit.
    check("COPY a b /x", context, "file 644 x B");
    check_error(
        "COPY a d /x",
        context,
        &drawn(
            "a directory cannot replace `/x`, which is none",
            "COPY a d /x",
        ),
    );
}

#[test]
fn wildcards() {
    let context = "
        file 644 a.txt A
        file 644 b.txt B
        file 644 c.md C
        file 644 a1/x X
        file 644 a2/x other
        file 644 a2/y Y
        file 644 a33/z Z
        file 644 deep/er/d.txt D
        link l.txt c.md
        link broken/link none
    ";
    let check = |instructions: &str, expected: &str| check(instructions, context, expected);
    // A link that is found this way is followed, and has to lead somewhere.
    check_error(
        "COPY broken/* /x/",
        context,
        &drawn(
            "`broken/link` is a link that leads nowhere",
            "COPY broken/* /x/",
        ),
    );
    check(
        "COPY broken/*/n[o]thing a.txt /x/",
        "dir 755 x\nfile 644 x/a.txt A",
    );
    check(
        "COPY *.txt /x/",
        "dir 755 x\nfile 644 x/a.txt A\nfile 644 x/b.txt B\nfile 644 x/l.txt C",
    );
    check("COPY c.* /x", "file 644 x C");
    check(
        "COPY a?/* /x/",
        "dir 755 x\nfile 644 x/x other\nfile 644 x/y Y",
    );
    check(
        "COPY a? /x/",
        "dir 755 x\nfile 644 x/x other\nfile 644 x/y Y",
    );
    check(
        "COPY [bc].* /x/",
        "dir 755 x\nfile 644 x/b.txt B\nfile 644 x/c.md C",
    );
    check("COPY dee*/er/d.txt /x", "file 644 x D");
    check("COPY deep/**/*.txt /x/", "dir 755 x\nfile 644 x/d.txt D");
    // A pattern may match nothing, as for BuildKit.
    check("COPY *.none /x/", "");
    check("COPY *.none c.md /x/", "dir 755 x\nfile 644 x/c.md C");
}

#[test]
fn a_directory_that_is_there_for_what_is_in_it_is_as_it_is() {
    let site = Site::new("dir 700 d\ndir 711 d/e\nfile 600 d/e/f F\nfile 600 d/g G\ndir 750 h");
    let site = site.ignore("*\n!d/e/f");
    check_in(
        &site,
        "COPY . /tmp",
        "dir 700 tmp/d\ndir 711 tmp/d/e\nfile 600 tmp/d/e/f F",
    );
}

#[test]
fn links_in_the_source() {
    let context = "
        file 644 real/f F
        link l real/f
        link ld real
        link chain ld
        link abs /real/f
        link up ../../real/f
        link keep/l ../real/f
        link loop loop
    ";
    let check = |instructions: &str, expected: &str| check(instructions, context, expected);
    // One that is named is followed, never out of the context; those below are kept.
    check("COPY l /x", "file 644 x F");
    check("COPY l /x/", "dir 755 x\nfile 644 x/l F");
    check(
        "COPY abs up /x/",
        "dir 755 x\nfile 644 x/abs F\nfile 644 x/up F",
    );
    check("COPY ld /x", "dir 755 x\nfile 644 x/f F");
    check("COPY chain/f /x", "file 644 x F");
    check("COPY keep /x", "dir 755 x\nlink x/l ../real/f");
    check_error(
        "COPY loop /x",
        context,
        "
        Dockerfile:2: `COPY loop /x` failed
        `loop` leads through more than 40 symbolic links
        ",
    );
}

#[test]
fn whatever_part_of_the_context_is_needed() {
    let context = "
        file 644 d/f F
        link d/up ../other/x
        link d/near f
        link ld d
        link other/abs /d/f
        file 644 other/x X
        file 644 unused/.wh.name U
    ";
    let check = |instructions: &str, expected: &str| check(instructions, context, expected);
    check("COPY d/f /x", "file 644 x F");
    check("COPY d/near /x", "file 644 x F");
    check("COPY d/up /x", "file 644 x X");
    check(
        "COPY d/u* d/n* /x/",
        "dir 755 x\nfile 644 x/near F\nfile 644 x/up X",
    );
    check("COPY ld/f /x", "file 644 x F");
    check("COPY ld/up /x", "file 644 x X");
    check("COPY other/abs /x", "file 644 x F");
    check("COPY d/f /x\nCOPY other/x /y", "file 644 x F\nfile 644 y X");
    check(
        "ARG p=other/x\nCOPY d/f /x\nCOPY $p /y",
        "file 644 x F\nfile 644 y X",
    );
    check("ARG p=..\nCOPY d/$p/other/x /y", "file 644 y X");
    let mut site = Site::new(context);
    site.image("base", &["dir 755 tmp"], |config| {
        config.config.on_build = vec!["COPY other/x /x".to_owned()];
    });
    check_in(&site, "COPY d/f /y", "file 644 x X\nfile 644 y F");
    let site = Site::new(context).ignore("*\n!d/f\n!other/x");
    check_in(&site, "COPY d /x", "dir 755 x\nfile 644 x/f F");
    check_in(&site, "COPY other/x /x", "file 644 x X");
}

#[test]
fn links_in_the_image() {
    let context =
        "file 644 f F\nfile 755 d/lib/new N\nfile 644 d/lib/libc.so mine\nfile 644 x/toold/f F";
    // The destination is followed, as a merged `/usr` needs.
    check("COPY f /lib/f", context, "file 644 usr/lib/f F");
    check("COPY f /lib/", context, "file 644 usr/lib/f F");
    check("COPY f /lib", context, "file 644 usr/lib/f F");
    check("COPY f /toold", context, "file 644 etc/old F");
    check(
        "COPY f /nowhere",
        context,
        "dir 755 none\ndir 755 none/at\nfile 644 none/at/all F",
    );
    // A directory that is copied onto a link to one goes where the link leads.
    check(
        "COPY d /",
        context,
        "file 644 usr/lib/libc.so mine\nfile 755 usr/lib/new N",
    );
    // A file that meets a link replaces it.
    check("COPY d /", "file 644 d/lib lib", "file 644 lib lib");
}

/// Returns the drawing of an error about all of `instruction` on line 2.
fn drawn(message: &str, instruction: &str) -> String {
    let carets = "^".repeat(instruction.len());
    format!("error: {message}\n --> Dockerfile:2:1\n  |\n2 | {instruction}\n  | {carets}")
}

#[test]
fn kinds_that_do_not_fit() {
    let context = "file 644 f F\nfile 644 d/etc etc\nfile 644 e/old/x X\nfile 644 g/sub/x X\nfile 644 h/sub S\nfile 644 x/toold/f F";
    let file_onto_directory = |path: &str, instruction: &str| {
        let message = format!("a file cannot replace `/{path}`, which is a directory");
        check_error(instruction, context, &drawn(&message, instruction));
    };
    let directory_onto_file = |path: &str, instruction: &str| {
        let message = format!("a directory cannot replace `/{path}`, which is none");
        check_error(instruction, context, &drawn(&message, instruction));
    };
    file_onto_directory("etc", "COPY d /");
    file_onto_directory("x/sub", "COPY g h /x/");
    directory_onto_file("etc/old", "COPY d /etc/old");
    directory_onto_file("etc/old", "COPY e /etc");
    directory_onto_file("etc/old", "COPY f /etc/old/");
    directory_onto_file("x/sub", "COPY h g /x/");
    directory_onto_file("toold", "COPY x /");
    check_error(
        "COPY f /etc/old/x",
        context,
        "
        error: `/etc/old/x` leads through something that is no directory
         --> Dockerfile:2:1
          |
        2 | COPY f /etc/old/x
          | ^^^^^^^^^^^^^^^^^
        ",
    );
}

#[test]
fn ignored_files() {
    let context = "
        file 644 Dockerfile D
        file 644 keep K
        file 644 target/app A
        file 644 target/debug/x X
        file 644 src/main.rs M
        file 644 src/note.md N
        file 644 secret S
    ";
    let site = Site::new(context).ignore("# comment\nDockerfile\ntarget\n!target/app\n**/*.md\n");
    check_in(
        &site,
        "COPY . /x",
        "
        dir 755 x
        file 644 x/keep K
        file 644 x/secret S
        dir 755 x/src
        file 644 x/src/main.rs M
        dir 755 x/target
        file 644 x/target/app A
        ",
    );
    check_in(&site, "COPY target/app /x", "file 644 x A");
    check_error_in(
        &site,
        "COPY keep /\nCOPY target/debug /usr/bin/",
        "
        error: `target/debug` is not in the build context
         --> Dockerfile:3:6
          |
        3 | COPY target/debug /usr/bin/
          |      ^^^^^^^^^^^^
        hint: `.dockerignore` line 3, `target`, leaves it out
        ",
    );
    let mut site = Site::new(context).ignore("secret");
    site.request.ignore_file = "app.dockerignore".to_owned();
    site.request.file_name = "app".to_owned();
    check_error_in(
        &site,
        "COPY --chown=1 \\\n    keep secret /d/",
        "
        error: `secret` is not in the build context
         --> app:3:10
          |
        3 |     keep secret /d/
          |          ^^^^^^
        hint: `app.dockerignore` line 1, `secret`, leaves it out
        ",
    );
    // An absent file has no hint, and its name is found as a word.
    check_error_in(
        &site,
        "copy --chown=p /o p /d/",
        "
        error: `o` is not in the build context
         --> app:2:16
          |
        2 | copy --chown=p /o p /d/
          |                ^^
        ",
    );
    // Ignore files are for the context alone.
    let mut site = Site::new("").ignore("*");
    site.directory("other", "file 644 a A");
    check_in(&site, "COPY --from=other a /x", "file 644 x A");
}
