//! Strings and numbers as SSH has them (RFC 4251, 5).

/// What is left to read. Nothing is allocated, whatever length is named.
#[derive(Debug)]
pub(super) struct Reading<'a>(pub(super) &'a [u8]);

impl<'a> Reading<'a> {
    pub(super) fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }
}

/// What was written so far.
#[derive(Debug)]
pub(super) struct Writing(pub(super) Vec<u8>);

impl Writing {
    /// Writes a number; none that is meant here is greater than 2^32.
    pub(super) fn number(&mut self, number: usize) {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        self.0.extend(number.to_be_bytes());
    }

    pub(super) fn string(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.extend(bytes);
    }

    /// Writes a positive number of any size, of which `bytes` are the digits, highest first.
    pub(super) fn mpint(&mut self, bytes: &[u8]) {
        let bytes = without_zeros(bytes);
        // The highest bit is the sign.
        let is_signed = bytes.first().is_some_and(|first| first & 0x80 != 0);
        let sign: &[u8] = if is_signed { &[0] } else { &[] };
        self.string(&[sign, bytes].concat());
    }
}

pub(super) fn without_zeros(bytes: &[u8]) -> &[u8] {
    let n_zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(n_zeros..).unwrap_or_default()
}
