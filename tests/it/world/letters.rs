//! Letters as tests write and read them: the shortest sound letter, and a few questions to one that arrived.

/// A letter in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    /// Its number in its mailbox.
    pub(crate) uid: u32,
    /// Whether it was read.
    pub(crate) seen: bool,
    /// The whole of it.
    pub(crate) bytes: Vec<u8>,
}

impl Letter {
    /// The first value of a header field, unfolded; empty if there is none.
    pub(crate) fn field(&self, name: &str) -> String {
        self.fields(name).into_iter().next().unwrap_or_default()
    }

    /// All values of a header field, unfolded.
    pub(crate) fn fields(&self, name: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        let header = text.split("\r\n\r\n").next().unwrap_or_default();
        let unfolded = header.replace("\r\n ", " ").replace("\r\n\t", " ");
        let start = format!("{}:", name.to_ascii_lowercase());
        let named = |line: &&str| line.to_ascii_lowercase().starts_with(&start);
        unfolded.split("\r\n").filter(named).map(|line| line[start.len()..].trim().to_owned()).collect()
    }

    /// The subject.
    pub(crate) fn subject(&self) -> String {
        self.field("Subject")
    }

    /// What follows the header.
    pub(crate) fn content(&self) -> &[u8] {
        let end = self.bytes.windows(4).position(|window| window == b"\r\n\r\n");
        end.map_or(&[], |end| &self.bytes[end + 4..])
    }

    /// The whole of it as text, whatever its encoding.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// The shortest sound letter. The subject is what tests tell letters apart by.
pub(crate) fn letter_of(from: &str, to: &[&str], subject: &str) -> String {
    let to = to.join(",\r\n ");
    format!("From: {from}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nThis is about {subject}.\r\n")
}
