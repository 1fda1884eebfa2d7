//! LIST in its plain and extended forms (RFC 5258, 5819, 6154), and LSUB.

use super::cursor::{Cursor, Read, bad};
use crate::protocol::imap::command::{ListRequest, StatusItem};
use crate::protocol::imap::limits::LIST_ITEMS_MAX;

impl Cursor<'_> {
    /// What follows the word LIST.
    pub(super) fn list_request(&mut self) -> Read<ListRequest> {
        self.space()?;
        let mut request = ListRequest::default();
        if self.peek() == Some(b'(') {
            request.extended = true;
            self.list(LIST_ITEMS_MAX, |cursor| cursor.selection_option(&mut request))?;
            self.space()?;
        }
        let reference = self.astring()?;
        self.space()?;
        let patterns = if self.peek() == Some(b'(') {
            request.extended = true;
            self.list(LIST_ITEMS_MAX, Self::pattern)?
        } else {
            vec![self.pattern()?]
        };
        if self.take(b' ') && self.peek().is_some() {
            request.extended = true;
            if !self.take_word("RETURN") {
                return bad("expected RETURN");
            }
            self.space()?;
            self.list(LIST_ITEMS_MAX, |cursor| cursor.return_option(&mut request))?;
        }
        if request.recursive && !request.only_subscribed {
            return bad("RECURSIVEMATCH needs SUBSCRIBED");
        }
        request.patterns = patterns.into_iter().map(|pattern| [&reference[..], &pattern].concat()).collect();
        Ok(request)
    }

    /// What follows the word LSUB.
    pub(super) fn lsub_request(&mut self) -> Read<ListRequest> {
        self.space()?;
        let reference = self.astring()?;
        self.space()?;
        let patterns = vec![[reference, self.pattern()?].concat()];
        Ok(ListRequest { lsub: true, patterns, only_subscribed: true, ..ListRequest::default() })
    }

    fn selection_option(&mut self, request: &mut ListRequest) -> Read<()> {
        match self.keyword()?.as_str() {
            "SUBSCRIBED" => request.only_subscribed = true,
            "SPECIAL-USE" => request.only_special = true,
            "RECURSIVEMATCH" => request.recursive = true,
            // There are no remote mailboxes: nothing to add.
            "REMOTE" => {}
            _ => return bad("unknown LIST selection option"),
        }
        Ok(())
    }

    fn return_option(&mut self, request: &mut ListRequest) -> Read<()> {
        match self.keyword()?.as_str() {
            "SUBSCRIBED" => request.show_subscribed = true,
            // Always shown.
            "CHILDREN" | "SPECIAL-USE" => {}
            "STATUS" => {
                self.space()?;
                request.status = self.status_items()?;
            }
            _ => return bad("unknown LIST return option"),
        }
        Ok(())
    }

    /// The parenthesised items of STATUS.
    pub(super) fn status_items(&mut self) -> Read<Vec<StatusItem>> {
        let items = self.list(LIST_ITEMS_MAX, |cursor| {
            Ok(match cursor.keyword()?.as_str() {
                "MESSAGES" => StatusItem::Messages,
                "RECENT" => StatusItem::Recent,
                "UIDNEXT" => StatusItem::UidNext,
                "UIDVALIDITY" => StatusItem::UidValidity,
                "UNSEEN" => StatusItem::Unseen,
                "SIZE" => StatusItem::Size,
                "DELETED" => StatusItem::Deleted,
                "DELETED-STORAGE" => StatusItem::DeletedStorage,
                "APPENDLIMIT" => StatusItem::AppendLimit,
                _ => return bad("unknown STATUS item"),
            })
        })?;
        if items.is_empty() { bad("STATUS asks for nothing") } else { Ok(items) }
    }
}
