//! The graph as a picture: stages in columns, each to the right of all that it needs.

use std::fmt::Write as _;

use super::{EdgeKind, Graph, GraphStage};

const WIDTH: usize = 320;
const LINE: usize = 16;
const GAP: usize = 60;
const MARGIN: usize = 20;
/// How many characters of a line are shown, and how many lines of a stage.
const SHOWN: usize = 44;
const MAX_STEPS: usize = 24;

/// Where the box of a stage is.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    x: usize,
    y: usize,
    height: usize,
}

impl Graph {
    /// Returns the graph as an SVG document: arrows for FROM, dashed ones for what is copied, dotted
    /// ones for what is mounted; stages that are skipped are grey.
    pub fn to_svg(&self) -> String {
        let places = self.places();
        let width = places.iter().map(|place| place.x + WIDTH).max();
        let height = places.iter().map(|place| place.y + place.height).max();
        let (width, height) = (
            width.unwrap_or_default() + MARGIN,
            height.unwrap_or_default() + MARGIN,
        );
        // Writing to a string cannot fail.
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"monospace\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" \
             markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\"/>\
             </marker></defs>\n"
        );
        for edge in &self.edges {
            let from = edge.from.and_then(|from| places.get(from));
            let (Some(from), Some(to)) = (from, places.get(edge.to)) else {
                continue;
            };
            let dashes = match edge.kind {
                EdgeKind::From => "",
                EdgeKind::Copy => " stroke-dasharray=\"6 3\"",
                EdgeKind::Mount => " stroke-dasharray=\"2 3\"",
            };
            let (x1, y1) = (from.x + WIDTH, from.y + LINE);
            let (x2, y2) = (to.x, to.y + LINE);
            let _ = writeln!(
                out,
                "<path d=\"M{x1} {y1} C{} {y1} {} {y2} {x2} {y2}\" fill=\"none\" \
                 stroke=\"black\"{dashes} marker-end=\"url(#arrow)\"><title>line {}</title></path>",
                x1 + GAP / 2,
                x2 - GAP / 2,
                edge.line
            );
        }
        for (stage, place) in self.stages.iter().zip(&places) {
            self.draw(stage, *place, &mut out);
        }
        out.push_str("</svg>\n");
        out
    }

    fn draw(&self, stage: &GraphStage, place: Place, out: &mut String) {
        let Place { x, y, height } = place;
        let is_target = self.targets.contains(&stage.index);
        let (fill, ink) = match (is_target, stage.needed) {
            (true, _) => ("#dff0d8", "black"),
            (false, true) => ("#eef3fa", "black"),
            (false, false) => ("#f4f4f4", "#888888"),
        };
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{height}\" rx=\"4\" \
             fill=\"{fill}\" stroke=\"{ink}\"/>"
        );
        for (row, (line, text)) in lines(self, stage).iter().enumerate() {
            let weight = if row == 0 {
                " font-weight=\"bold\""
            } else {
                ""
            };
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{}\" fill=\"{ink}\" xml:space=\"preserve\"{weight}>{}\
                 <title>line {line}</title></text>",
                x + 8,
                y + LINE * (row + 1),
                escaped(text),
            );
        }
    }

    /// Puts each stage a column behind the last that it needs, below those there already.
    fn places(&self) -> Vec<Place> {
        let mut columns: Vec<usize> = Vec::new();
        let mut bottoms: Vec<usize> = Vec::new();
        let mut places = Vec::new();
        for stage in &self.stages {
            // Only earlier stages can be needed, so their columns are known.
            let needed = self.edges.iter().filter(|edge| edge.to == stage.index);
            let column = needed
                .filter_map(|edge| columns.get(edge.from?))
                .map(|column| column + 1)
                .max()
                .unwrap_or_default();
            columns.push(column);
            bottoms.resize(bottoms.len().max(column + 1), MARGIN);
            let height = LINE * lines(self, stage).len() + LINE / 2;
            let mut place = Place {
                x: MARGIN + column * (WIDTH + GAP),
                y: MARGIN,
                height,
            };
            if let Some(bottom) = bottoms.get_mut(column) {
                place.y = *bottom;
                *bottom += height + MARGIN;
            }
            places.push(place);
        }
        places
    }
}

/// The lines in the box of a stage, each with its line in the file.
fn lines(graph: &Graph, stage: &GraphStage) -> Vec<(usize, String)> {
    let mut lines = vec![
        (stage.line, cut(&graph.label(stage.index))),
        (stage.line, cut(&format!("FROM {}", stage.base))),
    ];
    let shown = stage.steps.iter().take(MAX_STEPS);
    lines.extend(shown.map(|step| (step.line, cut(&step.text))));
    if let Some(more) = stage.steps.get(MAX_STEPS) {
        let n_more = stage.steps.len() - MAX_STEPS;
        lines.push((more.line, format!("and {n_more} more")));
    }
    lines
}

fn cut(text: &str) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN - 1).chain(['…']).collect()
}

/// Text that cannot be taken for markup, without the characters that XML does not have.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
