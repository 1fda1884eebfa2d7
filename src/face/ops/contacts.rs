//! `contacts` and `trust`: what the person decides about others, and who everybody is to us and why.

use super::Office;
use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::household::store_failure;
use crate::face::control::Ask;
use crate::model::address::MailAddress;
use crate::model::time::UnixTime;
use crate::model::trust::alike::alike;
use crate::model::trust::words::safety_words;
use crate::model::trust::{Answer, Tier, View, explain, graph, tier_of};
use crate::node::contacts::{name_of, same_name};
use crate::store::contacts::{ContactRecord, DecisionNo, PETNAME_LEN_MAX, Undone};
use onion::OnionAddress;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most lines of a listing.
const LISTED_MAX: usize = 10_000;
/// Most addresses that one is said to look like.
const ALIKE_MAX: usize = 10;

/// All that is asked for an answer about people.
pub(super) struct People {
    pub(super) own: OnionAddress,
    contacts: BTreeMap<OnionAddress, ContactRecord>,
    web: std::sync::Arc<View>,
    agreed: Option<UnixTime>,
}

impl Office {
    /// Does what is asked about contacts.
    pub(super) async fn contacts(&self, ask: Ask) -> Result<Value, Failure> {
        let people = self.people().await?;
        match ask {
            Ask::List => Ok(people.list()),
            Ask::Show { who } => self.show(&people, people.who(&who)?).await,
            Ask::Rename { who, name } => self.rename(&people, people.other(&who)?, &name).await,
            Ask::Decide { who, tier } => self.decide(&people, people.other(&who)?, tier).await,
            Ask::Undo { number } => self.undo(number).await,
            Ask::Log => self.log(&people).await,
            Ask::Why { who } => {
                let who = people.who(&who)?;
                let answer = people.answer(&who);
                let mut row = people.row(&who, &answer);
                row["lines"] = json!(explain::lines(&answer, &|who| people.name(who)));
                Ok(row)
            }
            Ask::Graph => {
                let picture = graph::picture(&people.web, people.agreed, &|who| people.name(who));
                let left_out = picture.left_out;
                Ok(json!({"svg": picture.svg(), "dot": picture.dot(), "left_out": left_out}))
            }
            Ask::Words { who } => {
                let who = people.other(&who)?;
                let words = safety_words(&people.own, &who);
                Ok(json!({"address": who.host(), "name": people.name(&who), "words": words}))
            }
        }
    }

    pub(super) async fn people(&self) -> Result<People, Failure> {
        let agreed = self.live.as_ref().and_then(|live| live.node.moment().agreed);
        let contacts = self.desk.contacts().await.map_err(store_failure)?;
        let web = self.desk.web().await.map_err(store_failure)?;
        Ok(People { own: self.desk.identity().onion(), contacts, web, agreed })
    }

    async fn show(&self, people: &People, who: OnionAddress) -> Result<Value, Failure> {
        let answer = people.answer(&who);
        let mut row = people.row(&who, &answer);
        row["lines"] = json!(explain::lines(&answer, &|who| people.name(who)));
        row["looks_like"] = people.looks_like(&who);
        let card = self.desk.store().read(move |rx| rx.cards().get(&who)).await.map_err(store_failure)?;
        row["card"] = card.map_or(Value::Null, |card| {
            let refused = card.refused.map(|refused| json!({"why": refused.why, "at": refused.at.rfc5322()}));
            json!({
                "sequence": card.sequence, "since": card.first_seen.rfc5322(), "updated": card.updated.rfc5322(),
                "refused": refused,
            })
        });
        Ok(row)
    }

    async fn rename(&self, people: &People, who: OnionAddress, name: &str) -> Result<Value, Failure> {
        let name = name.trim();
        check_petname(name)?;
        let petname = (!name.is_empty()).then(|| name.to_owned());
        match self.desk.rename(who, petname.clone()).await.map_err(store_failure)? {
            true => Ok(json!({"address": who.host(), "name": petname, "before": people.name(&who)})),
            false => Err(Failure::new(Exit::Data, format_args!("somebody else is called {name} already"))
                .hint("see: onionskin contacts")),
        }
    }

    async fn decide(&self, people: &People, who: OnionAddress, tier: Tier) -> Result<Value, Failure> {
        let before = people.answer(&who).tier;
        let no = self.desk.decide(who, tier, "you said so").await.map_err(store_failure)?;
        Ok(json!({
            "number": no.0, "address": who.host(), "name": people.name(&who), "before": before, "tier": tier,
            "looks_like": people.looks_like(&who),
        }))
    }

    async fn undo(&self, number: Option<u64>) -> Result<Value, Failure> {
        let failed = |what: &str| {
            Err(Failure::new(Exit::NoInput, what).hint("see what can be undone: onionskin contacts log"))
        };
        match self.desk.undo(number.map(DecisionNo)).await.map_err(store_failure)? {
            Undone::Now(line) => {
                let people = self.people().await?;
                let mut row = people.row(&line.onion, &people.answer(&line.onion));
                row["undone"] = json!(line.why);
                Ok(row)
            }
            Undone::Before => failed("it was undone before"),
            Undone::Superseded => failed("a later decision about the same person stands; undo that first"),
            Undone::Unknown => failed("there is nothing to undo by that number"),
        }
    }

    async fn log(&self, people: &People) -> Result<Value, Failure> {
        let log = self.desk.decisions().await.map_err(store_failure)?;
        let older = log.len().saturating_sub(LISTED_MAX);
        let rows = log.into_iter().skip(older).map(|(no, line)| {
            json!({
                "number": no.0, "at": line.at.rfc5322(), "address": line.onion.host(),
                "name": people.name(&line.onion), "before": line.before.map(|decision| decision.tier),
                "after": line.after.map(|decision| decision.tier), "why": line.why, "undone": line.undone,
            })
        });
        Ok(rows.collect())
    }

    /// What the person is asked about contacts, a sentence each.
    pub(super) async fn questions(&self) -> Result<Vec<String>, Failure> {
        let contacts = self.desk.contacts().await.map_err(store_failure)?;
        let asked = contacts.iter().filter_map(|(who, contact)| {
            let (_, question) = contact.question.as_ref()?;
            Some(format!("{}: {question}", name_of(contact.petname.as_deref(), who)))
        });
        Ok(asked.collect())
    }
}

impl People {
    /// Whom a text means: an address of any form, or a petname.
    fn who(&self, text: &str) -> Result<OnionAddress, Failure> {
        let text = text.trim();
        let parsed = match text.contains('@') {
            true => MailAddress::parse(text).ok().map(|address| address.onion),
            false => {
                OnionAddress::parse(text).or_else(|_| OnionAddress::parse(&format!("{text}.onion"))).ok()
            }
        };
        let named = || {
            let called =
                |contact: &ContactRecord| contact.petname.as_ref().is_some_and(|name| same_name(name, text));
            self.contacts.iter().find(|(_, contact)| called(contact)).map(|(who, _)| *who)
        };
        parsed.or_else(named).ok_or_else(|| {
            Failure::new(Exit::NoUser, format_args!("{text} is no address, and nobody is called that"))
                .hint("addresses are name@<56 characters>.onion; see who is called what: onionskin contacts")
        })
    }

    /// The same, of somebody else than ourselves.
    pub(super) fn other(&self, text: &str) -> Result<OnionAddress, Failure> {
        let who = self.who(text)?;
        if who == self.own {
            return Err(Failure::new(Exit::Usage, "that is your own address"));
        }
        Ok(who)
    }

    pub(super) fn name(&self, who: &OnionAddress) -> String {
        if *who == self.own {
            return "you".to_owned();
        }
        name_of(self.contacts.get(who).and_then(|contact| contact.petname.as_deref()), who)
    }

    fn answer(&self, who: &OnionAddress) -> Answer {
        tier_of(&self.web, who, self.agreed)
    }

    /// All contacts, and who was introduced; the nearest first, then by name.
    fn list(&self) -> Value {
        let introduced =
            self.web.reached(self.agreed).into_iter().filter(|who| !self.contacts.contains_key(who));
        let known = self.contacts.keys().copied().map(|who| (who, true));
        let mut rows: Vec<(std::cmp::Reverse<Tier>, String, Value)> = known
            .chain(introduced.map(|who| (who, false)))
            .filter_map(|(who, is_contact)| {
                let answer = self.answer(&who);
                let shown = is_contact || answer.tier >= Tier::Introduced;
                shown.then(|| (std::cmp::Reverse(answer.tier), self.name(&who), self.row(&who, &answer)))
            })
            .collect();
        rows.sort_by(|(tier, name, _), (other, others, _)| (tier, name).cmp(&(other, others)));
        rows.into_iter().take(LISTED_MAX).map(|(_, _, row)| row).collect()
    }

    fn row(&self, who: &OnionAddress, answer: &Answer) -> Value {
        let contact = self.contacts.get(who);
        let successor = contact.and_then(|contact| contact.successor.as_ref());
        json!({
            "address": who.host(),
            "name": contact.and_then(|contact| contact.petname.as_deref()),
            "shown": self.name(who),
            "tier": answer.tier,
            "reason": explain::reason(answer, &|who| self.name(who)),
            "revoked": contact.and_then(|contact| contact.revoked.as_ref()).map(|revoked| revoked.at.rfc5322()),
            "moved_to": successor.map(|successor| successor.new.host()),
            "question": contact.and_then(|contact| contact.question.as_ref()).map(|(_, question)| question),
        })
    }

    /// Addresses we know that this one could be taken for.
    fn looks_like(&self, who: &OnionAddress) -> Value {
        let known = self.contacts.keys().chain([&self.own]);
        let alike = alike(who, known).into_iter().take(ALIKE_MAX);
        alike.map(|other| json!({"address": other.host(), "shown": self.name(&other)})).collect()
    }
}

/// A petname is one line that nobody can take for an address.
fn check_petname(name: &str) -> Result<(), Failure> {
    let what = if name.len() > PETNAME_LEN_MAX {
        format!("a name has {PETNAME_LEN_MAX} bytes at most")
    } else if name.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)) {
        "a name has no control characters".to_owned()
    } else if name.contains('@') || name.to_lowercase().ends_with(".onion") {
        "a name that looks like an address would be taken for one".to_owned()
    } else {
        return Ok(());
    };
    Err(Failure::new(Exit::Data, what))
}
