//! "Did you mean": the nearest of a few known words.

/// Returns the option nearest to `word` in at most two edits, ignoring case.
///
/// Two is BuildKit's limit: with more, short words match anything.
pub(crate) fn nearest<'a>(
    word: &str,
    options: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    // A hostile word may be long; none of the known ones is.
    if word.len() > 40 {
        return None;
    }
    options
        .into_iter()
        .map(|option| (distance(&word, &option.to_lowercase(), true), option))
        .filter(|(distance, _)| (1..3).contains(distance))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, option)| option)
}

/// Returns the option nearest to `word` as the checks suggest it: case counts, and a swap of
/// neighbours is two edits. Of equally near ones it is the first, and none if `word` is among them.
pub(crate) fn exact<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut nearest = (3, None);
    for option in options {
        if option == word {
            return None;
        }
        // A hostile text may have long names in any number.
        if option.len() > 256 || word.len() > 256 {
            continue;
        }
        let distance = distance(word, option, false);
        if distance < nearest.0 {
            nearest = (distance, Some(option));
        }
    }
    nearest.1
}

/// Returns how many edits lie between two words; with `swaps`, that of neighbours is one edit, since
/// it is the commonest slip (optimal string alignment), otherwise two (Levenshtein).
fn distance(a: &str, b: &str, swaps: bool) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substituted = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substituted.min(last[j] + 1).min(row[j - 1] + 1);
            if swaps && i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_known_word() {
        #[track_caller]
        fn check(word: &str, expected: Option<&str>) {
            assert_eq!(
                nearest(word, ["FROM", "RUN", "COPY", "CMD"]),
                expected,
                "{word:?}"
            );
        }

        check("RNU", Some("RUN"));
        check("frm", Some("FROM"));
        check("COPPY", Some("COPY"));
        check("RUN", None);
        check("completely", None);
        check("", None);
    }
}
