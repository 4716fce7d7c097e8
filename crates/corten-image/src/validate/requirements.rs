//! The requirements of the specifications, by the ids that findings have.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// One requirement of a specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirement {
    /// Its id, such as `CFG-02`: the document it is from, and a number.
    pub id: &'static str,
    /// How strong the specification's own word is.
    pub strength: Strength,
    /// What it asks for, in our words.
    pub statement: &'static str,
    /// What to do where content breaks it; `None` if content cannot.
    pub advice: Option<&'static str>,
}

/// How strong a requirement is, by the word that the specification uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strength {
    /// MUST and MUST NOT.
    Must,
    /// SHOULD and SHOULD NOT.
    Should,
    /// MAY and OPTIONAL.
    May,
    /// Normative prose without a keyword.
    Defined,
    /// Not in the specification, but images and registries need it.
    Practice,
    /// The specification's advice.
    Guidance,
}

/// Four columns, parted by tabs: id, strength, statement, advice. The id begins with the document:
/// DSC descriptor.md, MT media-types.md, LAY image-layout.md, IDX image-index.md, MAN manifest.md,
/// CFG config.md, LYR layer.md, ANN annotations.md, CNV conversion.md, CNS considerations.md, ART
/// artifacts-guidance.md, DST the distribution specification, DKR Docker's image specification,
/// V2S2 its manifest version 2, schema 2.
const TABLE: &str = include_str!("requirements.tsv");

static REQUIREMENTS: LazyLock<BTreeMap<&'static str, Requirement>> = LazyLock::new(|| {
    TABLE
        .lines()
        .filter_map(parse)
        .map(|it| (it.id, it))
        .collect()
});

/// Returns the requirement called `id`.
pub fn requirement(id: &str) -> Option<&'static Requirement> {
    REQUIREMENTS.get(id)
}

/// Returns all requirements, sorted by their ids.
pub fn requirements() -> impl Iterator<Item = &'static Requirement> {
    REQUIREMENTS.values()
}

fn parse(line: &'static str) -> Option<Requirement> {
    let mut columns = line.split('\t');
    let id = columns.next()?;
    let strength = match columns.next()? {
        "must" => Strength::Must,
        "should" => Strength::Should,
        "may" => Strength::May,
        "defined" => Strength::Defined,
        "practice" => Strength::Practice,
        "guidance" => Strength::Guidance,
        _ => return None,
    };
    Some(Requirement {
        id,
        strength,
        statement: columns.next()?,
        advice: columns.next().filter(|advice| !advice.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sources that make findings.
    const SOURCES: [&str; 12] = [
        include_str!("annotations.rs"),
        include_str!("config.rs"),
        include_str!("descriptor.rs"),
        include_str!("fields.rs"),
        include_str!("index.rs"),
        include_str!("layer.rs"),
        include_str!("layout.rs"),
        include_str!("lint.rs"),
        include_str!("manifest.rs"),
        include_str!("platform.rs"),
        include_str!("run.rs"),
        include_str!("walk.rs"),
    ];

    #[test]
    fn every_line_is_a_requirement_of_its_own() {
        assert_eq!(
            TABLE.lines().filter_map(parse).count(),
            TABLE.lines().count()
        );
        assert_eq!(requirements().count(), TABLE.lines().count());
        assert_eq!(requirements().count(), 345);
    }

    #[test]
    fn every_id_of_a_finding_resolves_and_has_advice() {
        let mut n_ids = 0;
        for source in SOURCES {
            for text in source.split('"').skip(1).step_by(1) {
                let Some((document, number)) = text.split_once('-') else {
                    continue;
                };
                let is_id = document.len() <= 4
                    && document.starts_with(|first: char| first.is_ascii_uppercase())
                    && number.len() == 2
                    && number.bytes().all(|byte| byte.is_ascii_digit());
                if is_id {
                    n_ids += 1;
                    let found = requirement(text).unwrap_or_else(|| panic!("{text} is unknown"));
                    assert!(found.advice.is_some(), "{text} has no advice");
                }
            }
        }
        assert!(n_ids > 100, "{n_ids} ids were seen");
    }
}
