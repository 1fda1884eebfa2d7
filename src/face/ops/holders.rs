//! `holder`: who keeps letters for us, for whom we keep letters, and how that begins and ends.

use super::Office;
use super::contacts::People;
use crate::face::cli::exit::{Exit, Failure};
use crate::face::cli::household::store_failure;
use crate::face::control::Holders;
use crate::model::hold;
use crate::model::statement::{HolderWish, Signed};
use crate::model::time::UnixTime;
use crate::node::deposit::HELD_SIZE_MAX;
use crate::node::holders::{HolderError, Terms, Whose};
use crate::store::held::{BoxRecord, WishRecord};
use crate::store::holders::HolderRecord;
use crate::store::routes::ConductRecord;
use onion::OnionAddress;
use serde_json::{Value, json};

/// The smallest limit, in bytes: below, no letter with a text fits.
const LIMIT_MIN: u64 = 4 << 10;
/// After so many failures in a row a drop or a holder is told of.
const FAILURES_TOLD: u32 = 5;

impl Office {
    /// Does what is asked about holding.
    pub(super) async fn holders(&self, ask: Holders) -> Result<Value, Failure> {
        match ask {
            Holders::List => self.list_holders().await,
            Holders::Ask { who, bytes, days, shared } => {
                self.ask_holder(&who, Terms { bytes, days }, shared).await
            }
            Holders::Grant { who, bytes, days } => self.grant(&who, bytes, days).await,
            Holders::Limit { bytes } => self.limit(bytes).await,
            Holders::End { who, only } => self.end_holding(&who, only).await,
        }
    }

    async fn ask_holder(&self, who: &str, terms: Terms, shared: bool) -> Result<Value, Failure> {
        let people = self.people().await?;
        let who = people.other(who)?;
        check(terms)?;
        let before = self.between(who).await?.holder;
        let shared = shared || before.as_ref().is_some_and(|record| record.shared);
        if !shared && !self.desk.neighbours.claim(who) {
            let what =
                format!("another identity of yours, unlocked now, has {} as a holder", people.name(&who));
            return Err(Failure::new(Exit::NoPermission, what).hint(
                "they could tell from the times that both are yours: ask somebody else, or add --shared if it is well",
            ));
        }
        let asked = self.desk.ask_holder(who, terms).await;
        if asked.is_err() && before.is_none() {
            self.desk.neighbours.leave(&who);
        }
        asked.map_err(|error| failure(&people, who, error))?;
        if shared {
            self.desk.share_holder(who).await.map_err(store_failure)?;
        }
        let promised = before.as_ref().and_then(HolderRecord::open);
        Ok(json!({
            "address": who.host(), "shown": people.name(&who), "bytes": terms.bytes, "days": terms.days,
            "until_answered": promised.map(|promise| json!({"bytes": promise.bytes, "days": promise.days})),
        }))
    }

    async fn grant(&self, who: &str, bytes: Option<u64>, days: Option<u32>) -> Result<Value, Failure> {
        let people = self.people().await?;
        let who = people.other(who)?;
        let terms = Terms { bytes: bytes.unwrap_or(hold::BYTES_MAX), days: days.unwrap_or(hold::DAYS_MAX) };
        check(terms)?;
        let before = self.between(who).await?;
        let done = self.desk.grant(who, terms).await;
        let promised = done.map_err(|error| match (error, &before.guest) {
            (HolderError::NotAsked, Some(known)) if !known.over => {
                let what = format!("you keep letters for {} already", people.name(&who));
                Failure::new(Exit::NoInput, what)
                    .hint("to change how much, they ask once more; to end it: onionskin holder end ADDRESS")
            }
            (error, _) => failure(&people, who, error),
        })?;
        let asked = before.wish.as_ref().and_then(wish_of).map(|wish| wish_row(&wish));
        Ok(json!({
            "address": who.host(), "shown": people.name(&who), "bytes": promised.bytes,
            "days": promised.days, "asked": asked,
        }))
    }

    /// Shows or sets how large a letter may be that is left with holders.
    async fn limit(&self, bytes: Option<u64>) -> Result<Value, Failure> {
        if let Some(bytes) = bytes {
            if !(LIMIT_MIN..=HELD_SIZE_MAX).contains(&bytes) {
                let what = "letters that are left with holders have at most 4K to 896K";
                return Err(Failure::new(Exit::Usage, what)
                    .hint("a larger one is announced, and fetched when both of you are up"));
            }
            self.desk.set_held_size_max(bytes).await.map_err(store_failure)?;
        }
        let now = self.desk.held_size_max().await.map_err(store_failure)?;
        Ok(json!({"bytes": now, "most": HELD_SIZE_MAX}))
    }

    async fn end_holding(&self, who: &str, only: Option<Whose>) -> Result<Value, Failure> {
        let (mine, theirs) = (only != Some(Whose::Theirs), only != Some(Whose::Mine));
        let people = self.people().await?;
        let who = people.other(who)?;
        let before = self.between(who).await?;
        let promised = before.holder.as_ref().is_some_and(|record| record.promise.is_some());
        let holder = before.holder.filter(|record| mine && !record.over);
        let guest = before.guest.filter(|record| theirs && !record.over);
        let told = holder.is_some() || guest.is_some();
        if told {
            self.desk.end_holding(who, only).await.map_err(|error| failure(&people, who, error))?;
        } else if before.wish.is_none() || !theirs {
            return Err(failure(&people, who, HolderError::Nothing(only)));
        }
        // Who has promised is visited on, for what is there still.
        if mine && !promised {
            self.desk.neighbours.leave(&who);
        }
        // What they have asked for besides is answered with no.
        let forgotten = self
            .desk
            .store()
            .write(move |tx| if theirs { tx.held().remove_wish(&who) } else { Ok(false) })
            .await;
        let wish = forgotten.map_err(store_failure)?;
        Ok(json!({
            "address": who.host(), "shown": people.name(&who), "holder": holder.is_some(),
            "guest": guest.map(|record| json!({"letters": record.letters, "used": record.used})),
            "wish": wish, "told": told,
        }))
    }

    async fn list_holders(&self) -> Result<Value, Failure> {
        let people = self.people().await?;
        let read = self.desk.store().read(|rx| {
            let holding = (rx.holders().list()?, rx.held().mailboxes()?, rx.held().wishes()?);
            Ok((holding, rx.holders().all_given()?, rx.routes().conducts()?))
        });
        let ((holders, boxes, wishes), given, drops) = read.await.map_err(store_failure)?;
        let abused = given.iter().filter(|(_, given)| given.noise + given.others > 0);
        let abused: Vec<Value> = abused
            .map(|(who, given)| named(&people, who, json!({"noise": given.noise, "others": given.others})))
            .collect();
        let mut holders: Vec<Value> =
            holders.iter().map(|(who, record)| named(&people, who, holder_row(record))).collect();
        let mut guests: Vec<Value> =
            boxes.iter().map(|(_, record)| named(&people, &record.guest, guest_row(record))).collect();
        let wishes = wishes.iter().filter_map(|(who, record)| {
            let mut row = named(&people, who, wish_row(&wish_of(record)?));
            row["at"] = json!(record.at.rfc5322());
            row["command"] = json!(format!("onionskin holder grant {}", who.host()));
            Some(row)
        });
        let wishes: Vec<Value> = wishes.collect();
        for rows in [&mut holders, &mut guests] {
            rows.sort_by_key(|row| (row["over"] == true, row["shown"].to_string()));
        }
        let limit = self.desk.held_size_max().await.map_err(store_failure)?;
        Ok(json!({
            "holders": holders, "guests": guests, "wishes": wishes, "abused": abused, "drops": drops_row(&drops),
            "limit": limit,
        }))
    }

    /// How much is held, in numbers, for `status`.
    pub(super) async fn holding(&self) -> Result<Value, Failure> {
        let read = self.desk.store().read(|rx| {
            let holding = (rx.holders().list()?, rx.held().mailboxes()?, rx.held().wishes()?.len());
            Ok((holding, rx.routes().conducts()?))
        });
        let ((holders, boxes, wishes), drops) = read.await.map_err(store_failure)?;
        let failing = |record: &HolderRecord| record.open().is_some() && record.failures >= FAILURES_TOLD;
        let failing = holders.iter().filter(|(_, record)| failing(record)).count();
        let keep = holders.iter().filter(|(_, record)| record.open().is_some()).count();
        let guests = boxes.iter().filter(|(_, record)| !record.over).count();
        let letters: u64 = boxes.iter().map(|(_, record)| record.letters).sum();
        Ok(json!({
            "holders": keep, "failing": failing, "guests": guests, "letters": letters, "wishes": wishes,
            "drops": drops_row(&drops),
        }))
    }

    async fn between(&self, who: OnionAddress) -> Result<Between, Failure> {
        let read = self.desk.store().read(move |rx| {
            Ok(Between {
                holder: rx.holders().get(&who)?,
                guest: rx.held().of_guest(&who)?.map(|(_, record)| record),
                wish: rx.held().wish(&who)?,
            })
        });
        read.await.map_err(store_failure)
    }
}

/// What there is between somebody and us.
struct Between {
    /// They were asked to keep letters for us.
    holder: Option<HolderRecord>,
    /// We keep letters for them.
    guest: Option<BoxRecord>,
    /// They have asked us to.
    wish: Option<WishRecord>,
}

/// Refuses what nobody can promise.
fn check(terms: Terms) -> Result<(), Failure> {
    let what = if !(hold::BYTES_MIN..=hold::BYTES_MAX).contains(&terms.bytes) {
        "a holder keeps 4 MiB to 1 TiB for somebody: --bytes 4M to --bytes 1T".to_owned()
    } else if !(hold::DAYS_MIN..=hold::DAYS_MAX).contains(&terms.days) {
        format!("a holder keeps letters for {} to {} days", hold::DAYS_MIN, hold::DAYS_MAX)
    } else {
        return Ok(());
    };
    Err(Failure::new(Exit::Usage, what))
}

/// The wish as it was signed; it was verified when it came.
fn wish_of(record: &WishRecord) -> Option<HolderWish> {
    let wish = Signed::<HolderWish>::parse(record.statement.clone()).and_then(|signed| signed.verify(None));
    Some((*wish.ok()?).clone())
}

fn named(people: &People, who: &OnionAddress, mut row: Value) -> Value {
    row["address"] = json!(who.host());
    row["shown"] = json!(people.name(who));
    row
}

fn wish_row(wish: &HolderWish) -> Value {
    json!({"bytes": wish.bytes, "days": wish.days})
}

fn holder_row(record: &HolderRecord) -> Value {
    let promise = record.promise.as_ref();
    let (state, ended_by) = match promise {
        _ if record.over => ("ended", Some("you")),
        None => ("asked", None),
        Some(promise) if promise.over => ("ended", Some("them")),
        Some(_) => ("keeps", None),
    };
    json!({
        "state": state, "ended_by": ended_by, "over": ended_by.is_some(),
        "asked": record.asked.rfc5322(),
        "bytes": promise.map(|promise| promise.bytes), "days": promise.map(|promise| promise.days),
        "since": promise.map(|promise| promise.made.rfc5322()),
        "collected": record.collected.map(UnixTime::rfc5322), "failures": record.failures,
        "trouble": record.trouble, "garbage": record.garbage,
    })
}

/// How the places behave at which letters for others are left. Whose node serves which is not known.
fn drops_row(drops: &[ConductRecord]) -> Value {
    let count = |is: fn(&ConductRecord) -> bool| drops.iter().filter(|conduct| is(conduct)).count();
    json!({
        "known": drops.len(), "failing": count(|conduct| conduct.failures >= FAILURES_TOLD),
        "unconfirmed": count(|conduct| conduct.unconfirmed > 0),
    })
}

fn guest_row(record: &BoxRecord) -> Value {
    json!({
        "bytes": record.bytes, "used": record.used, "letters": record.letters, "days": record.days,
        "since": record.made.rfc5322(), "over": record.over,
    })
}

fn failure(people: &People, who: OnionAddress, error: HolderError) -> Failure {
    let of = || format!("{} ({})", people.name(&who), who.host());
    match error {
        HolderError::NotKnown => {
            Failure::new(Exit::NoUser, format_args!("you have not said that you know {}", of()))
                .hint(format_args!("if you do: onionskin contacts know {}", who.host()))
        }
        HolderError::Revoked => {
            Failure::new(Exit::NoUser, format_args!("the key of {} was revoked by its owner", of()))
                .hint("see whether they moved: onionskin contacts show ADDRESS")
        }
        HolderError::NotAsked => {
            Failure::new(Exit::NoInput, format_args!("{} has not asked you to keep letters", of())).hint(
                "they ask with: onionskin holder ask YOUR-ADDRESS; who has asked: onionskin holder list",
            )
        }
        HolderError::Nothing(only) => {
            let what = match only {
                Some(Whose::Mine) => format!("{} keeps no letters for you", of()),
                Some(Whose::Theirs) => format!("you keep no letters for {}", of()),
                None => format!("neither does {} keep letters for you nor you for them", of()),
            };
            Failure::new(Exit::NoInput, what).hint("see: onionskin holder list")
        }
        HolderError::Terms(error) => Failure::new(Exit::Data, format_args!("it cannot be promised: {error}")),
        HolderError::Store(error) => store_failure(error),
    }
}
