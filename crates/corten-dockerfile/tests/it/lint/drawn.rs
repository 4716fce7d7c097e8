//! How findings are shown.

use super::{With, found};

#[test]
fn findings_show_no_password() {
    let text = "FROM scratch\nMAINTAINER me\nADD https://u:p,q@h/x /y\n";
    let lint = found(text, &With::default());
    let drawn = lint.findings[0].render("Dockerfile", text);
    assert!(
        drawn.contains("| >>> MAINTAINER me\n   3 |     ADD https://xxxxx:xxxxx@h/x /y\n"),
        "{drawn}"
    );
}

#[test]
fn findings_are_drawn_with_their_lines() {
    let text = "FROM scratch\n\nMAINTAINER me\nCOPY a /a\nCOPY <<X /b\n1\nX\nENV a b\n";
    let lint = found(text, &With::default());
    assert_eq!(
        lint.findings[0].render("Dockerfile", text),
        "\
WARNING: MaintainerDeprecated - https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/
Maintainer instruction is deprecated in favor of using label
Dockerfile:3
--------------------
   1 |     FROM scratch
   2 |     
   3 | >>> MAINTAINER me
   4 |     COPY a /a
   5 |     COPY <<X /b
--------------------"
    );
    assert_eq!(
        lint.findings[0].line(),
        "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line \
         3)"
    );
    let with = With {
        ignore: "*",
        ..With::default()
    };
    let text = "FROM scratch\nCOPY a <<X /b/\n1\nX\n";
    let lint = found(text, &with);
    assert_eq!(
        (lint.findings[0].span.line, lint.findings[0].last_line),
        (2, 4)
    );
}
