//! The graph of stages, as text and as a picture.

use std::collections::{BTreeMap, BTreeSet};

use corten_dockerfile::{EdgeKind, Graph, PlanOptions, Platform, parse, plan_targets};

fn graph(text: &str, targets: &[&str]) -> Graph {
    let dockerfile = parse(text).unwrap();
    let platform = Platform::new("linux", "amd64", "");
    let options = PlanOptions {
        target: None,
        build_args: &BTreeMap::new(),
        platform: &platform,
        build_platform: &platform,
        contexts: &BTreeSet::new(),
    };
    Graph::of(
        &dockerfile,
        &plan_targets(&dockerfile, &options, targets).unwrap(),
    )
}

const TEXT: &str = "ARG V=12\nFROM debian:$V AS base\nARG who=you\nFROM base AS unused\nRUN false\n\
    FROM scratch AS tool\nCOPY <<X /x\n1\nX\nFROM base\nCOPY --from=tool /x /\n\
    COPY --from=alpine:3 /y /\nRUN --mount=from=tool,target=/t true\n";

#[test]
fn as_text() {
    assert_eq!(
        graph(TEXT, &[]).to_text(),
        "\
2: base from debian:12 for linux/amd64
    arguments: who
     3  ARG who=you
4: unused (skipped) from base for linux/amd64
     5  RUN false
6: tool from scratch for linux/amd64
     7  COPY <<X /x
10: stage-3 (target) from base for linux/amd64
    copies from tool (line 11)
    copies from alpine:3 (line 12)
    mounts tool (line 13)
    11  COPY --from=tool /x /
    12  COPY --from=alpine:3 /y /
    13  RUN --mount=from=tool,target=/t true"
    );
}

#[test]
fn passwords_are_not_shown() {
    let text = graph("FROM scratch\nADD https://u:p,q@h/x /y\n", &[]).to_text();
    assert!(text.ends_with("ADD https://xxxxx:xxxxx@h/x /y"), "{text}");
}

#[test]
fn edges() {
    let graph = graph(TEXT, &["tool", "base"]);
    assert_eq!(graph.targets, [2, 0]);
    let needed: Vec<bool> = graph.stages.iter().map(|stage| stage.needed).collect();
    assert_eq!(needed, [true, false, true, false]);
    assert_eq!(graph.stages[2].steps[0].last_line, 9);
    let edges: Vec<_> = graph
        .edges
        .iter()
        .map(|edge| (edge.from, edge.image.as_deref(), edge.to, edge.kind))
        .collect();
    assert_eq!(
        edges,
        [
            (None, Some("debian:12"), 0, EdgeKind::From),
            (Some(0), None, 1, EdgeKind::From),
            (Some(0), None, 3, EdgeKind::From),
            (Some(2), None, 3, EdgeKind::Copy),
            (None, Some("alpine:3"), 3, EdgeKind::Copy),
            (Some(2), None, 3, EdgeKind::Mount),
        ]
    );
}

#[test]
fn hostile_text_stays_text_in_a_picture() {
    let text = "FROM scratch AS a\nRUN </text><script>x()</script> & \"\u{1b}[31m\u{0}\n\
        FROM a\nRUN [\"]]>\"]\n";
    let graph = graph(text, &[]);
    let svg = graph.to_svg();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;"));
    assert!(!svg.chars().any(|c| c.is_control() && c != '\n'));
    assert_eq!(
        svg.matches("<text ").count(),
        svg.matches("</text>").count()
    );
    assert_eq!(svg.matches("marker-end").count(), 1);
    assert!(!graph.to_text().contains('\u{1b}'));
}
