//! How deeply a text is nested, found without recursion: parsers and evaluation recurse as deeply.

/// More brackets within each other than anyone writes.
const MOST_LEVELS: usize = 64;

/// More operators than anyone writes in expressions that hold each other: each may be one level of a tree.
const MOST_OPERATORS: usize = 1000;

/// What the scanner is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// Brackets of code, and how many operators there were in the current expression.
    Code { is_braces: bool, n_operators: usize },
    /// A quoted text.
    Quotes,
    /// A template that is not quoted: a heredoc, or a text of JSON.
    Template,
}

/// Tells whether HCL is too deep.
pub(crate) fn is_too_deep(text: &str) -> bool {
    let start = Inside::Code {
        is_braces: true,
        n_operators: 0,
    };
    Scanner::new(text, start).finds_depth()
}

/// Tells whether a template is too deep.
pub(crate) fn is_template_too_deep(text: &str) -> bool {
    Scanner::new(text, Inside::Template).finds_depth()
}

struct Scanner<'a> {
    rest: &'a [u8],
    inside: Vec<Inside>,
    /// Whether a heredoc in it is too deep.
    is_deep: bool,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str, start: Inside) -> Self {
        Self {
            rest: text.as_bytes(),
            inside: vec![start],
            is_deep: false,
        }
    }

    fn finds_depth(mut self) -> bool {
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match self.inside.last() {
                Some(Inside::Code { .. }) => self.code(byte),
                Some(Inside::Quotes | Inside::Template) | None => self.template(byte),
            }
            let operators = self.inside.iter().map(|inside| match inside {
                Inside::Code { n_operators, .. } => *n_operators,
                Inside::Quotes | Inside::Template => 0,
            });
            let is_operator = !byte.is_ascii_alphanumeric();
            if self.is_deep
                || self.inside.len() > MOST_LEVELS
                || (is_operator && operators.sum::<usize>() > MOST_OPERATORS)
            {
                return true;
            }
        }
        false
    }

    fn code(&mut self, byte: u8) {
        match byte {
            b'"' => self.inside.push(Inside::Quotes),
            b'(' | b'[' | b'{' => self.open(byte == b'{'),
            b')' | b']' | b'}' => self.close(),
            b'#' => self.skip_line(),
            b'/' if self.rest.first() == Some(&b'/') => self.skip_line(),
            b'/' if self.rest.first() == Some(&b'*') => self.skip_comment(),
            b'<' if self.rest.first() == Some(&b'<') => self.skip_heredoc(),
            b',' => self.begin_expression(false),
            b'\n' => self.begin_expression(true),
            b'!' | b'-' | b'+' | b'*' | b'/' | b'%' | b'?' | b':' | b'=' | b'<' | b'>' | b'&'
            | b'|' | b'.' => {
                if let Some(Inside::Code { n_operators, .. }) = self.inside.last_mut() {
                    *n_operators += 1;
                }
            }
            _ => {}
        }
    }

    fn template(&mut self, byte: u8) {
        let is_quoted = self.inside.last() == Some(&Inside::Quotes);
        match byte {
            b'\\' if is_quoted => self.skip(1),
            b'"' if is_quoted => self.close(),
            b'$' | b'%' => match self.rest {
                [next, b'{', ..] if *next == byte => self.skip(2),
                [b'{', ..] => {
                    self.skip(1);
                    self.open(true);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn open(&mut self, is_braces: bool) {
        self.inside.push(Inside::Code {
            is_braces,
            n_operators: 0,
        });
    }

    fn close(&mut self) {
        if self.inside.len() > 1 {
            self.inside.pop();
        }
    }

    /// A line break ends an expression in braces, and not in other brackets.
    fn begin_expression(&mut self, is_line: bool) {
        if let Some(Inside::Code {
            is_braces,
            n_operators,
        }) = self.inside.last_mut()
            && (*is_braces || !is_line)
        {
            *n_operators = 0;
        }
    }

    fn skip(&mut self, n_bytes: usize) {
        self.rest = self.rest.get(n_bytes..).unwrap_or_default();
    }

    fn skip_line(&mut self) {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        self.skip(end.unwrap_or(self.rest.len()));
    }

    fn skip_comment(&mut self) {
        let end = self.rest.windows(2).position(|two| two == b"*/");
        self.skip(end.map_or(self.rest.len(), |end| end + 2));
    }

    /// Skips to the end of a heredoc, and judges its text as a template.
    fn skip_heredoc(&mut self) {
        self.skip(1);
        let line = self.rest.split(|byte| *byte == b'\n').next();
        let line = line.unwrap_or_default().trim_ascii();
        let delimiter = line.strip_prefix(b"-").unwrap_or(line).to_vec();
        if delimiter.is_empty() {
            return;
        }
        self.skip_line();
        let body = self.rest;
        while !self.rest.is_empty() {
            self.skip(1);
            let line = self.rest.split(|byte| *byte == b'\n').next();
            let is_end = line.unwrap_or_default().trim_ascii() == delimiter;
            if is_end {
                break;
            }
            self.skip_line();
        }
        let n_bytes = body.len() - self.rest.len();
        let template = Self {
            rest: body.get(..n_bytes).unwrap_or_default(),
            inside: vec![Inside::Template],
            is_deep: false,
        };
        self.is_deep |= template.finds_depth();
        self.skip_line();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_deep() {
        #[track_caller]
        fn check(text: &str, expected: bool) {
            let shown: String = text.chars().take(40).collect();
            assert_eq!(is_too_deep(text), expected, "{shown}");
        }
        let many = |text: &str| text.repeat(2000);
        check(&format!("a = {}", many("[")), true);
        check(&format!("a = {}x", many("!")), true);
        check(&format!("a = {}1", many("1 + ")), true);
        check(&format!("a = ({}\n1)", many("\n1 +")), true);
        check(&format!("a = {}\"", many("\"${")), true);
        check(&many("a = 1 + 1\n"), false);
        check(&format!("a = [{}]", many("-1,")), false);
        check(&format!("a = \"{}\"", many("-[{(")), false);
        check(&format!("a = \"{}\"", many("$${")), false);
        check(&format!("a = \"{}\"", many("\\\"")), false);
        check(&format!("# {}", many("[")), false);
        check(&format!("/* {} */", many("[")), false);
        check(&format!("a = <<E\n{}\nE\n", many("[")), false);
        check(&format!("a = <<-E\nx\n  E\nb = {}", many("[")), true);
        check("a = <<\n]", false);
        check(&format!("a = <<E\n{}\nE\n", many("${[")), true);
        assert!(is_template_too_deep(&many("${[")));
        assert!(!is_template_too_deep(&many("[")));
    }
}
