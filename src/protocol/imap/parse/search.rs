//! SEARCH (RFC 3501 section 6.4.4) with the RETURN options of ESEARCH (RFC 4731).
//!
//! The one place of the grammar that nests: depth and number of keys are bounded before anything is built.

use super::cursor::{Cursor, Read, SyntaxError, bad};
use crate::protocol::imap::command::SearchAnswer;
use crate::protocol::imap::limits::{LIST_ITEMS_MAX, SEARCH_DEPTH_MAX, SEARCH_KEYS_MAX};
use crate::protocol::imap::search::{FlagKey, Needle, SearchKey};

/// Why a SEARCH was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SearchError {
    Syntax(SyntaxError),
    /// Answered with `NO [BADCHARSET (US-ASCII UTF-8)]`.
    Charset,
}

impl From<SyntaxError> for SearchError {
    fn from(error: SyntaxError) -> Self {
        Self::Syntax(error)
    }
}

impl Cursor<'_> {
    /// What follows the word SEARCH.
    pub(super) fn search(&mut self) -> Result<(SearchKey, SearchAnswer), SearchError> {
        self.space()?;
        let mut answer = SearchAnswer::default();
        if self.take_word("RETURN") {
            self.space()?;
            answer = self.search_answer()?;
            self.space()?;
        }
        if self.take_word("CHARSET") {
            self.space()?;
            let charset = self.text()?.to_ascii_uppercase();
            if !matches!(charset.as_str(), "UTF-8" | "US-ASCII") {
                return Err(SearchError::Charset);
            }
            self.space()?;
        }
        let mut budget = SEARCH_KEYS_MAX;
        let mut keys = vec![self.search_key(SEARCH_DEPTH_MAX, &mut budget)?];
        while self.peek() == Some(b' ') {
            self.space()?;
            if self.peek().is_none() {
                break;
            }
            keys.push(self.search_key(SEARCH_DEPTH_MAX, &mut budget)?);
        }
        Ok((SearchKey::And(keys), answer))
    }

    fn search_answer(&mut self) -> Read<SearchAnswer> {
        let mut answer = SearchAnswer { extended: true, ..SearchAnswer::default() };
        let options = self.list(LIST_ITEMS_MAX, |cursor| {
            match cursor.keyword()?.as_str() {
                "MIN" => answer.min = true,
                "MAX" => answer.max = true,
                "ALL" => answer.all = true,
                "COUNT" => answer.count = true,
                _ => return bad("unknown SEARCH return option"),
            }
            Ok(())
        })?;
        // RFC 4731 section 3.1: no option means ALL.
        answer.all |= options.is_empty();
        Ok(answer)
    }

    fn search_key(&mut self, depth: usize, budget: &mut usize) -> Read<SearchKey> {
        let Some(depth) = depth.checked_sub(1) else { return bad("SEARCH nests too deep") };
        *budget = budget.checked_sub(1).map_or_else(|| bad("SEARCH has too many keys"), Ok)?;
        match self.peek() {
            Some(b'(') => {
                let keys = self.list(SEARCH_KEYS_MAX, |cursor| cursor.search_key(depth, budget))?;
                if keys.is_empty() { bad("empty parentheses in SEARCH") } else { Ok(SearchKey::And(keys)) }
            }
            Some(b'0'..=b'9' | b'*') => Ok(SearchKey::Sequence(self.sequence_set()?)),
            _ => self.named_key(depth, budget),
        }
    }

    fn named_key(&mut self, depth: usize, budget: &mut usize) -> Read<SearchKey> {
        let name = self.keyword()?;
        if let Some(key) = simple_key(&name) {
            return Ok(key);
        }
        self.space()?;
        Ok(match name.as_str() {
            "NOT" => SearchKey::Not(Box::new(self.search_key(depth, budget)?)),
            "OR" => {
                let left = self.search_key(depth, budget)?;
                self.space()?;
                SearchKey::Or(Box::new(left), Box::new(self.search_key(depth, budget)?))
            }
            "UID" => SearchKey::Uid(self.sequence_set()?),
            "KEYWORD" => SearchKey::Flag(FlagKey::Keyword(self.atom()?.to_owned()), true),
            "UNKEYWORD" => SearchKey::Flag(FlagKey::Keyword(self.atom()?.to_owned()), false),
            "LARGER" => SearchKey::Larger(self.number()?.into()),
            "SMALLER" => SearchKey::Smaller(self.number()?.into()),
            "BEFORE" => SearchKey::Before(self.date()?),
            "ON" => SearchKey::On(self.date()?),
            "SINCE" => SearchKey::Since(self.date()?),
            "SENTBEFORE" => SearchKey::SentBefore(self.date()?),
            "SENTON" => SearchKey::SentOn(self.date()?),
            "SENTSINCE" => SearchKey::SentSince(self.date()?),
            "BCC" | "CC" | "FROM" | "SUBJECT" | "TO" => SearchKey::Header(name, self.needle()?),
            "HEADER" => {
                let field = self.text()?.to_ascii_uppercase();
                self.space()?;
                SearchKey::Header(field, self.needle()?)
            }
            "BODY" => SearchKey::Body(self.needle()?),
            "TEXT" => SearchKey::Text(self.needle()?),
            _ => return bad("unknown SEARCH key"),
        })
    }

    fn needle(&mut self) -> Read<Needle> {
        self.text().map(|text| Needle::new(&text))
    }
}

fn simple_key(name: &str) -> Option<SearchKey> {
    use FlagKey::{Answered, Deleted, Draft, Flagged, Recent, Seen};
    Some(match name {
        "ALL" => SearchKey::All,
        "ANSWERED" => SearchKey::Flag(Answered, true),
        "DELETED" => SearchKey::Flag(Deleted, true),
        "DRAFT" => SearchKey::Flag(Draft, true),
        "FLAGGED" => SearchKey::Flag(Flagged, true),
        "RECENT" => SearchKey::Flag(Recent, true),
        "SEEN" => SearchKey::Flag(Seen, true),
        "UNANSWERED" => SearchKey::Flag(Answered, false),
        "UNDELETED" => SearchKey::Flag(Deleted, false),
        "UNDRAFT" => SearchKey::Flag(Draft, false),
        "UNFLAGGED" => SearchKey::Flag(Flagged, false),
        "UNSEEN" => SearchKey::Flag(Seen, false),
        "OLD" => SearchKey::Flag(Recent, false),
        "NEW" => SearchKey::And(vec![SearchKey::Flag(Recent, true), SearchKey::Flag(Seen, false)]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(text: &str) -> Result<(SearchKey, SearchAnswer), SearchError> {
        let mut cursor = Cursor::new(text.as_bytes());
        let found = cursor.search()?;
        cursor.end()?;
        Ok(found)
    }

    #[test]
    fn keys_nest_up_to_the_limit() {
        let any_of = |n: usize| format!(" {}SEEN", "OR ALL ".repeat(n));
        assert!(search(&any_of(SEARCH_DEPTH_MAX - 1)).is_ok());
        assert!(search(&any_of(SEARCH_DEPTH_MAX)).is_err());
        assert!(search(&format!(" {}ALL", "NOT ".repeat(100_000))).is_err());
        assert!(search(&format!(" {}", "(".repeat(100_000))).is_err());
        assert!(search(&" ALL".repeat(SEARCH_KEYS_MAX)).is_ok());
        assert!(search(&" ALL".repeat(SEARCH_KEYS_MAX + 1)).is_err());
    }

    #[test]
    fn what_clients_send_is_understood() {
        for text in [
            " ALL",
            " UNDELETED SINCE 1-Feb-2026 ",
            " CHARSET UTF-8 OR FROM \"ann\" (TO b SUBJECT {3}\r\n\u{fc}x)",
            " RETURN (MIN COUNT) 1:* NOT UID 3,5:7",
            " HEADER Message-ID <a@b> KEYWORD $Forwarded",
            " RETURN () BEFORE \"01-Jan-2020\"",
        ] {
            assert!(search(text).is_ok(), "{text}");
        }
        assert_eq!(search(" CHARSET KOI8-R TEXT x"), Err(SearchError::Charset));
        for bad in ["", " ", " FROM", " OR SEEN", " ()", " NOSUCH x", " SINCE 31-Feb-2020", " 0"] {
            assert!(matches!(search(bad), Err(SearchError::Syntax(_))), "{bad:?}");
        }
    }
}
