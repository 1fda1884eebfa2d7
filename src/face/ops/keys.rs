//! What is asked about keys: revoking, moving, following, and writing in the name of others.

use super::Office;
use super::contacts::People;
use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::household::store_failure;
use crate::face::control::Keys;
use crate::model::address::LocalPart;
use crate::model::trust::words::safety_words;
use crate::node::delegation::{DAYS_MAX, Leave};
use crate::node::quarantine::Taken;
use crate::node::recovery::{Follow, KeyError};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use onion::OnionAddress;
use serde_json::{Value, json};

/// Most people to whom something is passed on at once.
const PASSED_ON_MAX: usize = 100;

impl Office {
    /// Does what is asked about keys.
    pub(super) async fn keys(&self, ask: Keys) -> Result<Value, Failure> {
        match ask {
            Keys::Revoke { statement } => {
                let published = self.desk.revoke_self(bytes(&statement)?).await.map_err(failed)?;
                Ok(json!({
                    "address": self.desk.identity().address().full(), "told": published.readers,
                    "since": published.since.map(|since| since.rfc5322()),
                }))
            }
            Keys::Succeed { statement } => {
                let published = self.desk.succeed_self(bytes(&statement)?).await.map_err(failed)?;
                Ok(json!({"address": self.desk.identity().address().full(), "told": published.readers}))
            }
            Keys::TakeIn { statement } => self.take_in(bytes(&statement)?).await,
            Keys::PassOn { who, to } => self.pass_on(&who, &to).await,
            Keys::Successor { who } => {
                let people = self.people().await?;
                let follow = self.desk.successor_of(people.other(&who)?).await.map_err(failed)?;
                Ok(moved(&people, &follow))
            }
            Keys::Follow { who, new } => {
                let people = self.people().await?;
                let (old, new) = (people.other(&who)?, people.other(&new)?);
                let follow = self.desk.follow(old, new).await.map_err(failed)?;
                Ok(moved(&people, &follow))
            }
            Keys::Delegate { to, names, days } => self.delegate(&to, &names, days).await,
            Keys::Delegations => {
                let people = self.people().await?;
                let all = self.desk.delegations().await.map_err(store_failure)?;
                Ok(all.iter().map(|leave| shown(&people, leave)).collect())
            }
        }
    }

    /// Sentences for `status` about our own key.
    pub(super) async fn key_troubles(&self) -> Result<Vec<String>, Failure> {
        let revoked = self.desk.own_revocation().await.map_err(store_failure)?;
        Ok(revoked
            .map(|revocation| {
                let since = revocation.compromised().map(|since| format!(" since {}", since.rfc5322()));
                let since = since.unwrap_or_default();
                format!("this identity's key is revoked{since}: nothing is sent any more, reading goes on")
            })
            .into_iter()
            .collect())
    }

    async fn take_in(&self, statement: Vec<u8>) -> Result<Value, Failure> {
        let agreed = self.live.as_ref().and_then(|live| live.node.moment().agreed);
        let (who, taken) = self.desk.take_revocation(statement, agreed).await.map_err(failed)?;
        let (new, moved) = match taken {
            Taken::Now(quarantined) => (true, quarantined.letters()),
            Taken::Before => (false, 0),
        };
        Ok(json!({"address": who.host(), "new": new, "moved": moved}))
    }

    async fn pass_on(&self, who: &str, to: &[String]) -> Result<Value, Failure> {
        let people = self.people().await?;
        let who = people.other(who)?;
        if to.len() > PASSED_ON_MAX {
            let what = format!("it is passed on to {PASSED_ON_MAX} people at once at most");
            return Err(Failure::new(Exit::Usage, what));
        }
        let to = to.iter().map(|to| people.other(to)).collect::<Result<Vec<OnionAddress>, _>>()?;
        let told = self.desk.pass_on(who, to).await.map_err(failed)?;
        Ok(json!({"address": who.host(), "told": told}))
    }

    async fn delegate(&self, to: &str, names: &[String], days: u32) -> Result<Value, Failure> {
        let people = self.people().await?;
        let to = people.other(to)?;
        if !(1..=DAYS_MAX).contains(&days) {
            return Err(Failure::new(Exit::Usage, format_args!("it can be for 1 to {DAYS_MAX} days")));
        }
        let own = self.desk.identity().names();
        let mut chosen = Vec::new();
        for name in names {
            let local = LocalPart::parse(name).ok().filter(|local| own.locals().contains(local));
            let local = local.ok_or_else(|| {
                Failure::new(Exit::NoUser, format_args!("you have no name {name}"))
                    .hint(format_args!("your address is {}", own.main().full()))
            })?;
            if !chosen.contains(&local) {
                chosen.push(local);
            }
        }
        if chosen.is_empty() {
            chosen.push(own.main().local);
        }
        let leave = self.desk.delegate(to, chosen, days).await.map_err(failed)?;
        Ok(shown(&people, &leave))
    }
}

fn shown(people: &People, leave: &Leave) -> Value {
    let host = leave.principal.host();
    let addresses = leave.names.iter().map(|name| format!("{}@{host}", name.as_str()));
    json!({
        "from": people.name(&leave.principal), "to": people.name(&leave.delegate),
        "delegate": leave.delegate.host(), "addresses": addresses.collect::<Vec<_>>(),
        "until": leave.until.rfc5322(),
    })
}

fn moved(people: &People, follow: &Follow) -> Value {
    let new = follow.chain.last().copied().unwrap_or(follow.old);
    json!({
        "old": follow.old.host(), "name": people.name(&follow.old), "new": new.host(),
        "links": follow.chain.len(), "words": safety_words(&people.own, &new),
        "tier": follow.decided.map(|(tier, _)| tier), "number": follow.decided.map(|(_, no)| no.0),
    })
}

fn bytes(statement: &str) -> Result<Vec<u8>, Failure> {
    STANDARD.decode(statement).map_err(|_| Failure::new(Exit::Data, "the statement is not base64"))
}

fn failed(error: KeyError) -> Failure {
    let exit = match &error {
        KeyError::Store(_) => return store_failure_of(error),
        KeyError::Nothing(_) | KeyError::NoCard => Exit::NoInput,
        KeyError::OtherIdentity(_) | KeyError::Statement(_) => Exit::NoPermission,
        KeyError::Itself | KeyError::NamedBefore(_) | KeyError::Chain(_) | KeyError::SuccessorRevoked => {
            Exit::Data
        }
    };
    Failure::new(exit, error)
}

fn store_failure_of(error: KeyError) -> Failure {
    match error {
        KeyError::Store(error) => store_failure(error),
        error => Failure::new(Exit::Software, error),
    }
}
