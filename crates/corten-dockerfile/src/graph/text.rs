//! The graph as text.

use std::fmt::Write as _;

use super::{EdgeKind, Graph};

impl Graph {
    /// Returns the graph as lines for people: stages in the order of the file, with their steps.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for stage in &self.stages {
            let label = self.label(stage.index);
            let state = match (self.targets.contains(&stage.index), stage.needed) {
                (true, _) => " (target)",
                (false, true) => "",
                (false, false) => " (skipped)",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "{}: {label}{state} from {} for {}",
                stage.line,
                printable(&stage.base),
                stage.platform
            );
            for edge in self.edges.iter().filter(|edge| edge.to == stage.index) {
                let verb = match edge.kind {
                    EdgeKind::From => continue,
                    EdgeKind::Copy => "copies from",
                    EdgeKind::Mount => "mounts",
                };
                let source = match edge.from {
                    Some(stage) => self.label(stage),
                    None => printable(edge.image.as_deref().unwrap_or_default()),
                };
                let _ = writeln!(out, "    {verb} {source} (line {})", edge.line);
            }
            if !stage.args.is_empty() {
                let _ = writeln!(out, "    arguments: {}", printable(&stage.args.join(" ")));
            }
            for step in &stage.steps {
                let _ = writeln!(out, "  {:>4}  {}", step.line, printable(&step.text));
            }
        }
        out.truncate(out.trim_end().len());
        out
    }
}

/// A text without characters that would move the cursor of a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
