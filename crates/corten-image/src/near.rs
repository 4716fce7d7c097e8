//! Names that somebody may have meant.

/// How many names are suggested.
const MOST: usize = 3;
/// How many names of a directory are compared: it may have a million.
const COMPARED: usize = 5000;
/// Names longer than this are no slips of the pen, and comparing takes the product of their lengths.
const LONGEST: usize = 64;

/// Returns the names that are nearest to `name`, if any is near.
pub(crate) fn near<'a>(name: &[u8], names: impl Iterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
    let most = name.len().div_ceil(3).min(3);
    let mut found: Vec<(usize, &[u8])> = names
        .take(COMPARED)
        .filter(|other| name.len().max(other.len()) <= LONGEST)
        .map(|other| (distance(name, other), other))
        .filter(|(distance, _)| *distance <= most)
        .collect();
    found.sort_unstable();
    found.into_iter().take(MOST).map(|(_, name)| name).collect()
}

/// Returns how many bytes must be added, taken away or replaced; a change of case counts nothing.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (number, left) in left.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], number + 1);
        for (column, right) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(!left.eq_ignore_ascii_case(right));
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_meant() {
        #[track_caller]
        fn check(name: &str, names: &[&str], expected: &[&str]) {
            let found = near(name.as_bytes(), names.iter().map(|name| name.as_bytes()));
            let expected: Vec<&[u8]> = expected.iter().map(|name| name.as_bytes()).collect();
            assert_eq!(found, expected, "{name}");
        }
        check("pasdw", &["group", "passwd", "passwd-"], &["passwd"]);
        check("Passwd", &["group", "passwd"], &["passwd"]);
        check("os-release", &["hostname"], &[]);
        check("a", &["b", "c", "d", "e", "long"], &["b", "c", "d"]);
        check("", &["a"], &[]);
    }
}
