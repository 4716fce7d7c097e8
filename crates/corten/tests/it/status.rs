//! The page that says what is done: that each requirement is in it once, and that the files and tests
//! it names are there.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// The numbers of each document's requirements. Those of layers leave gaps between their parts.
const GROUPS: &[(&str, &[RangeInclusive<usize>])] = &[
    ("DSC", &[1..=26]),
    ("MT", &[1..=8]),
    ("LAY", &[1..=19]),
    ("IDX", &[1..=20]),
    ("MAN", &[1..=27]),
    ("CFG", &[1..=36]),
    ("LYR", &[1..=44, 50..=55, 60..=62, 70..=71]),
    ("ANN", &[1..=15]),
    ("CNV", &[1..=34]),
    ("CNS", &[1..=9]),
    ("ART", &[1..=3]),
    ("DST", &[1..=68]),
    ("DKR", &[1..=16]),
    ("V2S2", &[1..=9]),
];

const STATES: [&str; 4] = ["done", "partly", "not yet", "not ours"];

/// Tables of cases for many requirements, each of which has to name them, there or in the folder that
/// belongs to the file.
const TABLES: [&str; 3] = [
    "corten-image/tests/it/broken.rs",
    "corten-bundle/tests/it/conversion.rs",
    "corten-bundle/tests/it/conversion/users.rs",
];

/// A line of the page about one requirement.
struct Row<'a> {
    id: &'a str,
    group: &'a str,
    state: &'a str,
    files: Vec<&'a str>,
    /// Each a function and the file that it is in.
    tests: Vec<(&'a str, &'a str)>,
    last_cell: &'a str,
}

impl<'a> Row<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let cells = line.strip_prefix("| ")?.strip_suffix(" |")?;
        let (id, rest) = cells.split_once(" | ")?;
        let (group, number) = id.split_once('-')?;
        let is_id = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let mut cells = rest.rsplitn(4, " | ");
        let last_cell = cells.next()?;
        let files = cells.next()?.split('`').skip(1).step_by(2).collect();
        let state = cells.next()?;
        is_id.then(|| Self {
            id,
            group,
            state,
            files,
            tests: tests(last_cell),
            last_cell,
        })
    }

    fn is_done(&self) -> bool {
        matches!(self.state, "done" | "partly")
    }

    fn is_tested(&self) -> bool {
        !self.tests.is_empty()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !STATES.contains(&self.state) {
            problems.push(format!("`{}` is no state", self.state));
        }
        if self.is_done() && self.files.is_empty() {
            problems.push("no file does it".to_owned());
        }
        if self.is_done() && self.is_tested() == self.last_cell.starts_with("no test") {
            problems.push("it has either tests or `no test`".to_owned());
        }
        if self.last_cell.is_empty() {
            problems.push("it does not say why not".to_owned());
        }
        let missing = self.files.iter().filter(|file| !path(file).is_file());
        problems.extend(missing.map(|file| format!("there is no file `{file}`")));
        for (function, file) in &self.tests {
            let text = fs::read_to_string(path(file)).unwrap_or_default();
            if !has_function(&text, function) {
                problems.push(format!("`{file}` has no function `{function}`"));
            }
            if TABLES.contains(file) && !table(file).contains(self.id) {
                problems.push(format!("`{file}` has no case for it"));
            }
        }
        problems
    }
}

/// Reads what has the form `function` in `file`; the rest of the cell is for people.
fn tests(cell: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = cell.split('`').collect();
    let triples = parts.windows(3).skip(1).step_by(2);
    triples
        .filter(|triple| triple[1] == " in ")
        .map(|triple| (triple[0], triple[2]))
        .collect()
}

/// Returns the text of a file of tests and of those in its folder.
fn table(name: &str) -> String {
    let file = path(name);
    let folder = fs::read_dir(file.with_extension("")).into_iter().flatten();
    let parts = folder.map(|part| part.unwrap().path());
    parts
        .chain([file])
        .map(|part| fs::read_to_string(part).unwrap())
        .collect()
}

/// Tells whether `text`, Rust or shell, defines `function`.
fn has_function(text: &str, function: &str) -> bool {
    text.contains(&format!(" fn {function}("))
        || text.contains(&format!("\nfn {function}("))
        || text.contains(&format!("\n{function}() {{"))
}

fn root() -> &'static Path {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    crates.parent().unwrap()
}

/// Returns where a file is that the page names: below `crates`, or else below the root.
fn path(name: &str) -> PathBuf {
    let crates = root().join("crates").join(name);
    if crates.is_file() {
        crates
    } else {
        root().join(name)
    }
}

/// Returns every id, in order.
fn expected_ids() -> Vec<String> {
    let groups = GROUPS.iter().flat_map(|(group, ranges)| {
        let numbers = ranges.iter().cloned().flatten();
        numbers.map(move |number| format!("{group}-{number:02}"))
    });
    groups.collect()
}

/// Compares the table of counts, whose lines are about `NAME: GROUP`, with the rows.
fn wrong_counts(page: &str, rows: &[Row<'_>]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check = |name: &str, counted: &[&Row<'_>]| {
        let in_state = |state: &&str| counted.iter().filter(|row| row.state == *state).count();
        let mut counts = vec![counted.len()];
        counts.extend(STATES.iter().map(in_state));
        let counts: Vec<String> = counts.iter().map(ToString::to_string).collect();
        let end = format!("{name} | {} |", counts.join(" | "));
        if !page.lines().any(|line| line.ends_with(&end)) {
            problems.push(format!("no line of counts ends with `{end}`"));
        }
    };
    for (group, _) in GROUPS {
        let of_group: Vec<_> = rows.iter().filter(|row| row.group == *group).collect();
        check(&format!(": {group}"), &of_group);
    }
    check("| all", &rows.iter().collect::<Vec<_>>());
    let is_untested = |row: &&Row<'_>| row.is_done() && !row.is_tested();
    let n_untested = rows.iter().filter(is_untested).count();
    let sentence = format!("\n{n_untested} of those done or partly done have no test");
    if !page.contains(&sentence) {
        problems.push(format!("{n_untested} have no test"));
    }
    problems
}

/// Returns all that is wrong with the page.
fn problems(page: &str, requirements: &str) -> Vec<String> {
    let rows: Vec<Row<'_>> = page.lines().filter_map(Row::parse).collect();
    let mut problems = wrong_counts(page, &rows);
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for row in &rows {
        *times.entry(row.id.to_owned()).or_default() += 1;
        let found = row.problems();
        problems.extend(found.iter().map(|problem| format!("{}: {problem}", row.id)));
    }
    let expected = expected_ids();
    for id in &expected {
        match times.remove(id).unwrap_or_default() {
            0 => problems.push(format!("{id} is missing")),
            1 => {}
            n => problems.push(format!("{id} occurs {n} times")),
        }
    }
    let unknown = times.keys().map(|id| format!("{id} is no requirement"));
    problems.extend(unknown);
    let known = requirements
        .lines()
        .filter_map(|line| Some(line.split_once('\t')?.0));
    if !known.eq(expected.iter()) {
        problems.push("the ids are not those that `validate` knows".to_owned());
    }
    problems
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

const PAGE: &str = "docs/reference/status.md";
const REQUIREMENTS: &str = "corten-image/src/validate/requirements.tsv";

#[test]
fn what_the_page_says_of_requirements_is_there() {
    let problems = problems(&read(PAGE), &read(REQUIREMENTS));
    assert!(problems.is_empty(), "{PAGE}:\n{}", problems.join("\n"));
}

#[test]
fn a_wrong_page_is_noticed() {
    #[track_caller]
    fn check(from: &str, to: &str, expected: &str) {
        let (page, requirements) = (read(PAGE), read(REQUIREMENTS));
        assert!(page.contains(from), "{from:?} is not in the page");
        let found = problems(&page.replacen(from, to, 1), &requirements);
        let is_found = found.iter().any(|problem| problem.contains(expected));
        assert!(is_found, "{from:?} as {to:?}: {found:?}");
    }
    check("\n| MT-02 |", "\n| MT-01 |", "MT-01 occurs 2 times");
    check("\n| MT-02 |", "\n| MT-01 |", "MT-02 is missing");
    check(
        "\n| V2S2-09 |",
        "\n| V2S2-10 |",
        "V2S2-10 is no requirement",
    );
    check(
        "`corten-spec/src/media_type.rs`",
        "`a.rs`",
        "no file `a.rs`",
    );
    check("`an_import` in", "`an_imp` in", "no function `an_imp`");
    check(
        "`case_kill_import` in",
        "`case_kill` in",
        "no function `case_kill`",
    );
    check(": MT | 8 | 8 |", ": MT | 8 | 7 |", "no line of counts");
    check("\n| MT-02 |", "\nMT-02 |", "no line of counts");
    check(" of those done or partly done", " of them", "have no test");
    let table = format!(
        "`every_requirement_that_content_can_break_is_found_where_it_is_broken` in `{}`",
        TABLES[0]
    );
    check("no test; the type alone", &table, "LYR-55: `corten-image");
    check(
        "no test; the type alone",
        "the type alone",
        "LYR-55: it has",
    );
    check(
        "| not yet | — | the server |",
        "| later | — | the server |",
        "no state",
    );
}
