//! Where an instruction has a path, for messages about it.

use corten_dockerfile::Span;

/// Returns where the path `wanted` stands as a word of the instruction at `span`; `None` where it is
/// written in another way, such as with a variable.
pub(super) fn find_word(text: &str, span: Span, wanted: &str) -> Option<Span> {
    let is_around = |letter: char| letter.is_ascii_whitespace() || "\"',[]".contains(letter);
    let mut start = span.start;
    for (line_idx, line) in text
        .get(span.start..span.end)?
        .split_inclusive('\n')
        .enumerate()
    {
        let mut at = 0;
        for word in line.split(is_around) {
            let path = word.trim_start_matches("./").trim_matches('/');
            if !path.is_empty() && path == wanted {
                let before = line.get(..at)?.chars().count();
                let first_column = if line_idx == 0 { span.column } else { 1 };
                return Some(Span {
                    line: span.line + line_idx,
                    column: first_column + before,
                    start: start + at,
                    end: start + at + word.len(),
                });
            }
            at += word.len() + 1;
        }
        start += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_path_is_written() {
        #[track_caller]
        fn check(text: &str, wanted: &str, expected: Option<(usize, usize, &str)>) {
            let text = format!("FROM x\n  {text}\n");
            let span = Span {
                line: 2,
                column: 3,
                start: 9,
                end: text.len(),
            };
            let found = find_word(&text, span, wanted);
            let found = found.map(|found| {
                let word = text.get(found.start..found.end).unwrap_or_default();
                (found.line, found.column, word)
            });
            assert_eq!(found, expected, "{text}");
        }
        check("COPY a /b", "a", Some((2, 8, "a")));
        check("copy --from=o o /b", "o", Some((2, 17, "o")));
        check("COPY ./a/ /b", "a", Some((2, 8, "./a/")));
        check("COPY é \\\n x/y b", "x/y", Some((3, 2, "x/y")));
        check("COPY [\"ä\",\"a b\", \"c\"]", "c", Some((2, 21, "c")));
        check("COPY $a b", "a", None);
    }
}
