//! `introduce` and `vouch`: contacts brought together, in letters that the node writes.

use super::Office;
use super::contacts::People;
use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::household::store_failure;
use crate::face::handed::refused;
use crate::model::statement::StatementError;
use crate::model::trust::Method;
use crate::node::introduce::{self, IntroduceError};
use onion::OnionAddress;
use serde_json::{Value, json};

impl Office {
    /// Introduces two contacts to each other.
    pub(super) async fn introduce(
        &self,
        first: &str,
        second: &str,
        method: Method,
        note: &str,
    ) -> Result<Value, Failure> {
        let people = self.people().await?;
        let (first, second) = (people.other(first)?, people.other(second)?);
        if first == second {
            return Err(Failure::new(Exit::Usage, "nobody is introduced to themselves; name two people"));
        }
        let sent = introduce::introduce(&self.desk, first, second, method, note).await;
        let sent = sent.map_err(|error| failure(&people, error))?;
        let row = |who: OnionAddress| json!({"address": who.host(), "shown": people.name(&who)});
        let queued: usize = sent.iter().map(|submitted| submitted.queued).sum();
        Ok(json!({"first": row(first), "second": row(second), "method": method, "queued": queued}))
    }

    /// Vouches to somebody that their address is theirs.
    pub(super) async fn vouch(&self, who: &str, method: Method, show: bool) -> Result<Value, Failure> {
        let people = self.people().await?;
        let who = people.other(who)?;
        let sent = introduce::vouch(&self.desk, who, method, show).await;
        let sent = sent.map_err(|error| failure(&people, error))?;
        Ok(json!({
            "address": who.host(), "shown": people.name(&who), "method": method, "show": show,
            "queued": sent.queued,
        }))
    }
}

fn failure(people: &People, error: IntroduceError) -> Failure {
    let of = |who: &OnionAddress| format!("{} ({})", people.name(who), who.host());
    match error {
        IntroduceError::NotKnown(who) => {
            Failure::new(Exit::NoUser, format_args!("you have not said that you know {}", of(&who)))
                .hint(format_args!("if you do: onionskin contacts know {}", who.host()))
        }
        IntroduceError::Revoked(who) => {
            Failure::new(Exit::NoUser, format_args!("the key of {} was revoked by its owner", of(&who)))
                .hint("see whether they moved: onionskin contacts show ADDRESS")
        }
        IntroduceError::NoCard(who) => {
            Failure::new(Exit::NoUser, format_args!("the Card of {} is not here yet", of(&who)))
                .hint("write to them first; their Card comes when your letter is delivered")
        }
        IntroduceError::Statement(error @ StatementError::Form(_)) => {
            Failure::new(Exit::Data, format_args!("it cannot be signed: {error}"))
                .hint("a note has 1000 bytes at most, and no control characters")
        }
        IntroduceError::Statement(error) => Failure::new(Exit::Software, error),
        IntroduceError::Store(error) => store_failure(error),
        IntroduceError::Letter(reply) => refused(reply),
    }
}
