//! The last lines that a command wrote, for the message about its failure.

use std::collections::VecDeque;

/// Keeps the end of an output, in bounded memory.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
}

const N_LINES: usize = 20;
const N_BYTES: usize = 16 << 10;

impl Tail {
    /// Adds what was written next.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let kept = bytes
            .get(bytes.len().saturating_sub(N_BYTES)..)
            .unwrap_or_default();
        self.bytes.extend(kept);
        let surplus = self.bytes.len().saturating_sub(N_BYTES);
        self.bytes.drain(..surplus);
    }

    /// Returns the last lines, each indented.
    pub(crate) fn lines(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines
            .get(lines.len().saturating_sub(N_LINES)..)
            .unwrap_or_default();
        last.iter()
            .map(|line| format!("  | {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_in_bounded_memory() {
        let mut tail = Tail::default();
        (0..100).for_each(|number| tail.add(format!("line {number}\n").as_bytes()));
        let lines = tail.lines();
        assert!(lines.starts_with("  | line 80\n"), "{lines}");
        assert!(lines.ends_with("  | line 99"), "{lines}");
        tail.add(&vec![b'x'; 1 << 20]);
        assert_eq!(tail.lines().len(), N_BYTES + 4);
        assert_eq!(Tail::default().lines(), "");
    }
}
