//! The patterns of `${x#…}`, `${x%…}` and `${x/…/…}`: `*`, `?` and escapes.
//!
//! BuildKit turns them into regular expressions; this gives the same answers in time bounded by
//! pattern times value.

/// Pattern length times value length beyond which matching is refused.
const MAX_WORK: usize = 1 << 24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Literal(char),
    /// Any character but a newline, since `.` of a regular expression is that.
    One,
    Many,
}

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Item>);

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut items = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            items.push(match c {
                '*' => Item::Many,
                '?' => Item::One,
                // The brace and the slash had to be escaped to get into the substitution at all.
                '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
                '\\' => match chars.next() {
                    Some(c @ ('*' | '?' | '\\')) => Item::Literal(c),
                    Some(c) => {
                        return Err(format!("invalid escape `\\{c}` in the pattern `{text}`"));
                    }
                    None => return Err(format!("trailing escape in the pattern `{text}`")),
                },
                c => Item::Literal(c),
            });
        }
        Ok(Self(items))
    }

    /// Returns `value` without the part at its start that matches.
    pub(crate) fn trim_start(&self, value: &str, greedy: bool) -> Result<String, String> {
        let chars: Vec<char> = value.chars().collect();
        let end = Matcher::new(&self.0, &chars, greedy)?
            .end_from(0)
            .unwrap_or(0);
        Ok(chars.iter().skip(end).collect())
    }

    /// Returns `value` without the part at its end that matches.
    ///
    /// Both are turned round: of the matches that touch the end the shortest is wanted, and matching
    /// from the left would find the longest.
    pub(crate) fn trim_end(&self, value: &str, greedy: bool) -> Result<String, String> {
        let items: Vec<Item> = self.0.iter().rev().copied().collect();
        let chars: Vec<char> = value.chars().rev().collect();
        let end = Matcher::new(&items, &chars, greedy)?
            .end_from(0)
            .unwrap_or(0);
        Ok(chars.iter().skip(end).rev().collect())
    }

    /// Returns `value` with the first match, or every match, replaced; at most `limit` bytes.
    pub(crate) fn replace(
        &self,
        value: &str,
        replacement: &str,
        all: bool,
        limit: usize,
    ) -> Result<String, String> {
        let chars: Vec<char> = value.chars().collect();
        let mut matcher = Matcher::new(&self.0, &chars, true)?;
        let mut out = String::new();
        let mut copied = 0;
        let mut at = 0;
        let mut last_end = None;
        while at <= chars.len() {
            let Some(end) = matcher.end_from(at) else {
                at += 1;
                continue;
            };
            // An empty match right behind a match is none, as in Go.
            if end > at || last_end != Some(at) {
                out.extend(&chars[copied..at]);
                if all {
                    template(replacement, &chars[at..end], &mut out);
                } else {
                    out.push_str(replacement);
                }
                copied = end;
                last_end = Some(end);
                if out.len() > limit {
                    return Err("variables add more than 1 MiB".to_owned());
                }
                if !all {
                    break;
                }
            }
            at = end.max(at + 1);
        }
        out.extend(&chars[copied..]);
        Ok(out)
    }
}

/// Appends `replacement` as BuildKit does where it replaces every match.
///
/// It hands the text to a regular expression's template, in which `$0` is the match, `$$` a dollar
/// and any other `$name` nothing.
fn template(replacement: &str, matched: &[char], out: &mut String) {
    let mut rest = replacement;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let braced = after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'));
        let (name, after) = match braced {
            Some((name, after)) => (name, after),
            None if after.starts_with('{') => ("", after),
            None => {
                let name = after.trim_start_matches(is_name);
                after.split_at(after.len() - name.len())
            }
        };
        if name.is_empty() || !name.chars().all(is_name) {
            out.push('$');
            rest = rest.split_once('$').map_or("", |(_, after)| after);
            continue;
        }
        if name == "0" {
            out.extend(matched);
        }
        rest = after;
    }
    out.push_str(rest);
}

/// Backtracking that never tries the same place twice, so that it keeps the order of preference of
/// a regular expression and is bounded all the same.
struct Matcher<'a> {
    items: &'a [Item],
    chars: &'a [char],
    greedy: bool,
    /// One bit for each pair of places: set, it was tried and led nowhere.
    seen: Vec<u64>,
}

impl<'a> Matcher<'a> {
    fn new(items: &'a [Item], chars: &'a [char], greedy: bool) -> Result<Self, String> {
        let work = (items.len() + 1).saturating_mul(chars.len() + 1);
        if work > MAX_WORK {
            return Err("the pattern is too long for the value".to_owned());
        }
        Ok(Self {
            items,
            chars,
            greedy,
            seen: vec![0; work / 64 + 1],
        })
    }

    /// Returns where the preferred match that begins at `start` ends.
    fn end_from(&mut self, start: usize) -> Option<usize> {
        let mut stack = vec![(0, start)];
        let mut tried = Vec::new();
        while let Some((item, at)) = stack.pop() {
            let bit = item * (self.chars.len() + 1) + at;
            if (self.seen[bit / 64] >> (bit % 64)) & 1 == 1 {
                continue;
            }
            self.seen[bit / 64] |= 1 << (bit % 64);
            tried.push(bit);
            let here = self.chars.get(at).copied();
            match self.items.get(item) {
                None => {
                    // What a successful search tried has not failed.
                    for bit in tried {
                        self.seen[bit / 64] &= !(1 << (bit % 64));
                    }
                    return Some(at);
                }
                Some(Item::Literal(c)) if here == Some(*c) => stack.push((item + 1, at + 1)),
                Some(Item::One) if here.is_some_and(|c| c != '\n') => {
                    stack.push((item + 1, at + 1));
                }
                Some(Item::Literal(_) | Item::One) => {}
                Some(Item::Many) => {
                    let longer = here.is_some_and(|c| c != '\n').then_some((item, at + 1));
                    // What is pushed last is tried first.
                    if self.greedy {
                        stack.push((item + 1, at));
                        stack.extend(longer);
                    } else {
                        stack.extend(longer);
                        stack.push((item + 1, at));
                    }
                }
            }
        }
        None
    }
}
