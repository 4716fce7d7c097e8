//! `--exclude`, `--parents` and `--link`. What is expected is what BuildKit 0.34.2 made of the same.

use crate::site::{Site, check, check_error, check_in};

const CONTEXT: &str = "
    dir 750 d
    file 600 d/one.txt 1
    file 644 d/two.md 2
    dir 711 d/sub
    file 644 d/sub/three.txt 3
    file 644 d/sub/deep/four.txt 4
    file 644 d/sub/deep/five.md 5
    dir 755 d/empty
    link d/l one.txt
    file 644 f F
    file 644 g G
    dir 700 x/y
    file 644 x/y/z/f.txt xyz
    dir 777 x/y2
    file 644 x/y2/g.txt y2
    file 644 wild/a/w.txt wa
    file 644 wild/b/w.txt wb
    file 644 wild/m.txt wm
    file 644 home/app/h.txt h
    dir 711 home/app
    link ld d
";

#[test]
fn excluded_files() {
    let check = |instructions: &str, expected: &str| check(instructions, CONTEXT, expected);
    let all = "
        dir 755 n
        dir 755 n/empty
        link n/l one.txt
        file 600 n/one.txt 1
        dir 711 n/sub
        dir 755 n/sub/deep
        file 644 n/sub/deep/five.md 5
        file 644 n/sub/deep/four.txt 4
        file 644 n/sub/three.txt 3
        file 644 n/two.md 2
    ";
    let without = |left_out: &[&str]| {
        let stays = |line: &&str| !left_out.iter().any(|path| line.contains(path));
        all.lines().filter(stays).collect::<Vec<_>>().join("\n")
    };
    check("COPY --exclude=none d /n", all);
    // Patterns are relative to the source; one with a slash at the start matches nothing.
    check("COPY --exclude=*.md d /n", &without(&["two.md"]));
    check("COPY --exclude=/sub d /n", all);
    check("COPY --exclude=deep d /n", all);
    check(
        "COPY --exclude=**/*.md --exclude=sub/deep d /n",
        &without(&["two.md", "deep"]),
    );
    check("COPY --exclude=sub/ d /n", &without(&["sub"]));
    // Variables are expanded everywhere but here.
    check("ARG what=sub\nCOPY --exclude=${what} d /n", all);
    check("COPY --exclude=** d /n", "dir 755 n");
    // Exceptions bring the directories above them with them.
    check(
        "COPY --exclude=sub --exclude=!sub/deep/four.txt d /n",
        &without(&["five", "three"]),
    );
    check(
        "COPY --exclude=* --exclude=!**/*.md d /n",
        "dir 755 n\ndir 711 n/sub\ndir 755 n/sub/deep\nfile 644 n/sub/deep/five.md 5\nfile 644 n/two.md 2",
    );
    // A source that is a file is taken whatever its name, what a pattern found as well.
    check(
        "COPY --exclude=f f g /n/",
        "dir 755 n\nfile 644 n/f F\nfile 644 n/g G",
    );
    check(
        "COPY --exclude=*.txt wild/* /n/",
        "dir 755 n\nfile 644 n/m.txt wm",
    );
    check(
        "ADD --exclude=**/w.txt wild /n",
        "dir 755 n\ndir 755 n/a\ndir 755 n/b\nfile 644 n/m.txt wm",
    );
}

#[test]
fn parents() {
    let check = |instructions: &str, expected: &str| check(instructions, CONTEXT, expected);
    let file = "dir 700 n/x/y\ndir 755 n/x/y/z\nfile 644 n/x/y/z/f.txt xyz";
    check(
        "COPY --parents x/y/z/f.txt /n/",
        &format!("dir 755 n\ndir 755 n/x\n{file}"),
    );
    check(
        "COPY --parents x/y/z/f.txt /n",
        &format!("dir 755 n\ndir 755 n/x\n{file}"),
    );
    check(
        "COPY --parents x/**/*.txt /n",
        &format!("dir 755 n\ndir 755 n/x\n{file}\ndir 777 n/x/y2\nfile 644 n/x/y2/g.txt y2"),
    );
    // What stands before the pivot is not made again.
    check(
        "COPY --parents x/./y/z/f.txt /n/",
        &format!("dir 755 n\n{}", file.replace("n/x", "n")),
    );
    check(
        "COPY --parents ./x/y/./z /n/",
        "dir 755 n\ndir 755 n/z\nfile 644 n/z/f.txt xyz",
    );
    check(
        "COPY --parents wild/*/./w.txt /n/",
        "dir 755 n\nfile 644 n/w.txt wb",
    );
    check(
        "COPY --parents ld/./sub/th* /n/",
        "dir 755 n\ndir 711 n/sub\nfile 644 n/sub/three.txt 3",
    );
    let both = "dir 755 n\ndir 755 n/wild\ndir 755 n/wild/a\nfile 644 n/wild/a/w.txt wa\ndir 755 n/wild/b\nfile 644 n/wild/b/w.txt wb";
    check("COPY --parents **/w.txt /n/", both);
    check("COPY --parents wild/a wild/b/w.txt /n/", both);
    check("ARG d=wild\nCOPY --parents $d/*/w.txt /n/", both);
    check(
        "COPY --parents d/l /n/",
        "dir 755 n\ndir 750 n/d\nlink n/d/l one.txt",
    );
    check(
        "COPY --parents --exclude=d/sub --exclude=**/*.md d /n/",
        "dir 755 n\ndir 750 n/d\ndir 755 n/d/empty\nlink n/d/l one.txt\nfile 600 n/d/one.txt 1",
    );
    check(
        "COPY --parents --chown=9 --chmod=700 x/y/z/f.txt /n/m/",
        "
        dir 700 9:9 n
        dir 700 9:9 n/m
        dir 700 9:9 n/m/x
        dir 700 9:9 n/m/x/y
        dir 700 9:9 n/m/x/y/z
        file 700 9:9 n/m/x/y/z/f.txt xyz
        ",
    );
    // A directory that is there gets the mode of the one in the source, and keeps its owner.
    check(
        "COPY --parents home/app/h.txt /",
        "dir 711 1000:1001 home/app\nfile 644 home/app/h.txt h",
    );
    check("COPY --parents none* /n/", "dir 755 n");
    check_error(
        "COPY --parents x/./none /n/",
        CONTEXT,
        "
        error: `x/none` is not in the build context
         --> Dockerfile:2:1
          |
        2 | COPY --parents x/./none /n/
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^
        ",
    );
    check_error(
        "COPY --parents . /n/",
        CONTEXT,
        "
        error: `--parents` takes nothing of a whole directory
         --> Dockerfile:2:1
          |
        2 | COPY --parents . /n/
          | ^^^^^^^^^^^^^^^^^^^^
        hint: name what is in it: `*` is everything
        ",
    );
    let site = Site::new(CONTEXT);
    let listing = |text: &str| site.listing(&site.build(text));
    assert_eq!(
        listing(
            "FROM base AS a\nCOPY x /s/x\nFROM base\nCOPY --from=a --parents /s/./x/y2 /etc/old /n/"
        ),
        "dir 755 n\ndir 755 n/etc\nfile 644 n/etc/old old\ndir 755 n/x\ndir 777 n/x/y2\nfile 644 n/x/y2/g.txt y2",
    );
}

#[test]
fn linked_layers() {
    let check = |instructions: &str, expected: &str| check(instructions, CONTEXT, expected);
    // The layer knows nothing of the image: links are not followed, and directories are made anew.
    check(
        "COPY --link f /home/app/f",
        "dir 755 home/app\nfile 644 home/app/f F",
    );
    check("COPY --link f /lib/f", "dir 755 lib\nfile 644 lib/f F");
    check("COPY --link f /tmp", "file 644 tmp F");
    check("COPY --link f /tmp/", "dir 755 tmp\nfile 644 tmp/f F");
    check(
        "COPY --link --chown=7 f /n/m/f",
        "dir 755 7:7 n\ndir 755 7:7 n/m\nfile 644 7:7 n/m/f F",
    );
    // With a mode BuildKit copies as ever.
    check("COPY --link --chmod=600 f /lib/f", "file 600 usr/lib/f F");
    // What comes later sees it.
    check(
        "COPY --link f /n/f\nCOPY g /n",
        "dir 755 n\nfile 644 n/f F\nfile 644 n/g G",
    );
}

#[test]
fn linked_layers_stay_when_the_base_changes() {
    let mut site = Site::new(CONTEXT);
    let text = "FROM scratch AS files\nCOPY x /x\nFROM base\nCOPY --link d /n\nCOPY --link --from=files /x /m\n";
    let first = site.build(text);
    let first = site.layers(&first);
    site.image("base", &["file 644 other O", "link n other"], |_| {});
    let second = site.build(text);
    let is_miss = |step: &&String| !step.ends_with(" CACHED");
    assert_eq!(site.events().iter().find(is_miss), None);
    let second_layers = site.layers(&second);
    let last = |layers: &[_]| format!("{:?}", &layers[layers.len() - 2..]);
    assert_eq!(last(&first), last(&second_layers));
    assert!(site.listing(&second).contains("dir 755 n\n"));
    // Without the flag the base counts.
    let plain = text.replace("--link ", "");
    site.image("base", &["file 644 second O"], |_| {});
    site.build(&plain);
    site.image("base", &["file 644 third O"], |_| {});
    site.build(&plain);
    let n_cached = site
        .events()
        .iter()
        .filter(|step| step.ends_with(" CACHED"))
        .count();
    assert_eq!(n_cached, 1, "{:?}", site.events());
}

#[test]
fn what_is_left_out_is_not_in_the_key() {
    let site = Site::new(CONTEXT);
    let text = "FROM base\nCOPY --exclude=**/*.md d /n\nCOPY --parents x/y/z/f.txt /m/\n";
    site.build(text);
    let cached = |site: &Site| -> Vec<bool> {
        site.build(text);
        site.events()
            .iter()
            .map(|step| step.ends_with(" CACHED"))
            .collect()
    };
    site.add("file 644 d/two.md other\nfile 644 d/sub/new.md new\nfile 644 x/y2/g.txt other");
    assert_eq!(cached(&site), [true, true]);
    site.add("file 644 d/sub/three.txt other");
    assert_eq!(cached(&site), [false, false], "{:?}", site.events());
    site.add("dir 701 x/y");
    assert_eq!(cached(&site), [true, false]);
    check_in(&site, "COPY --exclude=** d /n", "dir 755 n");
}
