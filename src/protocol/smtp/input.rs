//! The input buffer: bytes as they came, and strict lines cut from them.
//!
//! A line ends in CRLF and in nothing else. A CR without LF, an LF without CR, or a line beyond its limit is an
//! error that says so, and the same one however the bytes were split on their way.

/// Bytes received and not yet used. The owner bounds it by refusing to be fed too much.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
    /// How far behind `start` was already searched for the end of a line.
    searched: usize,
}

/// Why there is no line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineError {
    /// More bytes than the limit without a line end.
    TooLong,
    /// A CR or LF that is not part of a CRLF.
    LineEnd,
}

impl Input {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives memory back if nothing is held: most sessions idle.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
        }
    }

    /// Forgets the first `count` bytes, or all if there are fewer.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.bytes.len());
        self.searched = 0;
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Cuts the next line, without its CRLF; `limit` counts the CRLF. `None`: more bytes are needed.
    pub(super) fn line(&mut self, limit: usize) -> Result<Option<Vec<u8>>, LineError> {
        let bytes = &self.bytes[self.start..];
        let longest = limit.saturating_sub(2);
        let found = bytes[self.searched..].iter().position(|&byte| byte == b'\r' || byte == b'\n');
        let Some(at) = found.map(|at| at + self.searched) else {
            self.searched = bytes.len();
            return if bytes.len() > longest { Err(LineError::TooLong) } else { Ok(None) };
        };
        self.searched = at;
        match (bytes[at], bytes.get(at + 1)) {
            _ if at > longest => Err(LineError::TooLong),
            (b'\r', None) => Ok(None),
            (b'\r', Some(b'\n')) => {
                let line = bytes[..at].to_vec();
                self.consume(at + 2);
                Ok(Some(line))
            }
            _ => Err(LineError::LineEnd),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Result<Option<Vec<u8>>, LineError>> {
        let mut input = Input::default();
        input.push(bytes);
        let mut seen = Vec::new();
        loop {
            let line = input.line(10);
            let more = matches!(line, Ok(Some(_)));
            seen.push(line);
            if !more {
                return seen;
            }
        }
    }

    #[test]
    fn only_crlf_ends_a_line() {
        let line = |text: &[u8]| Ok(Some(text.to_vec()));
        assert_eq!(lines(b"ab\r\n\r\nc"), vec![line(b"ab"), line(b""), Ok(None)]);
        assert_eq!(lines(b"ab\n"), vec![Err(LineError::LineEnd)]);
        assert_eq!(lines(b"ab\rc"), vec![Err(LineError::LineEnd)]);
        assert_eq!(lines(b"ab\r\r\n"), vec![Err(LineError::LineEnd)]);
        assert_eq!(lines(b"ab\r"), vec![Ok(None)]);
    }

    #[test]
    fn the_limit_counts_the_line_end() {
        assert_eq!(lines(b"12345678\r\n"), vec![Ok(Some(b"12345678".to_vec())), Ok(None)]);
        assert_eq!(lines(b"123456789\r\n"), vec![Err(LineError::TooLong)]);
        assert_eq!(lines(b"123456789"), vec![Err(LineError::TooLong)]);
        assert_eq!(lines(b"12345678\r"), vec![Ok(None)]);
        assert_eq!(lines(b"1234567890\n"), vec![Err(LineError::TooLong)]);
    }
}
