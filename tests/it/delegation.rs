//! Writing in the name of others: with leave it is shown as such, without it goes nowhere.

use crate::world::{Conditions, NodeId, World, arrived, days, hours, letter_of, minutes, pass, within};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use onionskin::face::control::{Keys, Request};
use onionskin::model::address::{LocalPart, MailAddress};
use onionskin::model::letter::LetterId;
use onionskin::model::queue::Entry;
use onionskin::model::statement::{Delegation, sign_as_device};
use onionskin::model::time::UnixTime;

/// The boss, the secretary who may write for them, and a reader.
struct Office {
    world: World,
    boss: NodeId,
    secretary: NodeId,
    reader: NodeId,
}

impl Office {
    async fn new(seed: u64) -> Self {
        let mut world = World::new(seed, Conditions::default());
        let boss = world.add_started("boss").await;
        let secretary = world.add_started("secretary").await;
        let reader = world.add_started("reader").await;
        Self { world, boss, secretary, reader }
    }

    async fn delegate(&self, days: u32) {
        let to = self.world.address(self.secretary);
        let ask = Keys::Delegate { to, names: Vec::new(), days };
        self.world.command(self.boss, Request::Keys { ask }).await;
        within(hours(1), "the secretary may", async || {
            let ask = Request::Keys { ask: Keys::Delegations };
            self.world.command(self.secretary, ask).await.as_array().is_some_and(|list| !list.is_empty())
        })
        .await;
    }

    /// The secretary hands in a letter with this From, as a mail program does.
    async fn hand_in(&self, from: &str, subject: &str) -> crate::world::Answer {
        let to = self.world.address(self.reader);
        let letter = letter_of(from, &[&to], subject);
        let mut program = self.world.submission(self.secretary);
        let user = self.world.address(self.secretary);
        program.log_in(&user, self.world.password(self.secretary)).await.taken();
        program.send(from, &[&to], letter.as_bytes()).await
    }

    /// A delegation that the boss signs, as it never leaves an honest node.
    fn sign(&self, delegate: NodeId, name: &str, until: UnixTime) -> Vec<u8> {
        let device = self.world.node(self.boss).desk.keyring().device();
        let delegation = Delegation {
            delegate: self.world.onion(delegate),
            names: vec![LocalPart::parse(name).unwrap()],
            made: UnixTime(until.0 - 86_400).to_the_hour(),
            until,
        };
        sign_as_device(&device, &delegation).unwrap().into_bytes()
    }

    /// Puts a letter from the boss's address into the queue of the secretary's node, which asks nothing.
    async fn smuggle(&self, subject: &str, leave: Option<Vec<u8>>) {
        let world = &self.world;
        let to = MailAddress::parse(&world.address(self.reader)).unwrap();
        let letter = letter_of(&world.address(self.boss), &[&to.full()], subject);
        let desk = world.node(self.secretary).desk.clone();
        let (size, now, id) = (letter.len() as u64, world.now(self.secretary), LetterId(desk.draw()));
        let body = desk.store().letter(letter.as_bytes()).await.unwrap();
        let from = LocalPart::parse("secretary").unwrap();
        let queued = desk.store().write(move |tx| {
            let letter = tx.letters().add(&body, b"")?;
            let entry = Entry::new(letter, id, from.clone(), to.clone(), size, now, 0);
            let behalf = leave.clone().map(serde_bytes::ByteBuf::from);
            tx.queue().push(letter, &Entry { behalf, ..entry })
        });
        queued.await.unwrap();
        world.command(self.secretary, Request::Retry { numbers: Vec::new() }).await;
    }

    /// Waits until the letter has come back to the secretary, and says why.
    async fn came_back(&self, nth: usize) -> String {
        let returned = "Your letter was not delivered";
        within(hours(1), "it comes back", async || {
            let subjects = self.world.subjects(self.secretary, "INBOX").await;
            subjects.iter().filter(|subject| *subject == returned).count() == nth
        })
        .await;
        let letters = self.world.mailbox(self.secretary, "INBOX").await;
        letters.iter().rfind(|letter| letter.subject() == returned).unwrap().text()
    }
}

#[tokio::test(start_paused = true)]
async fn with_leave_a_letter_is_shown_as_written_on_behalf_and_sender_says_by_whom() {
    let office = Office::new(91).await;
    let (world, boss) = (&office.world, office.world.address(office.boss));
    assert!(office.hand_in(&boss, "too early").await.refusal().starts_with("55"));
    office.delegate(30).await;
    office.hand_in(&boss, "for the boss").await.taken();
    arrived(world, office.reader, "for the boss", hours(1)).await;
    let letters = world.mailbox(office.reader, "INBOX").await;
    let letter = letters.iter().find(|letter| letter.subject() == "for the boss").unwrap();
    assert_eq!(
        (letter.field("From"), letter.field("Sender")),
        (boss.clone(), world.address(office.secretary))
    );
    let verdict = letter.field("X-Onionskin-Verdict");
    let expected = format!("signed and sealed by {} on behalf of {boss}", world.address(office.secretary));
    assert!(verdict.contains(&expected), "{verdict}");
    assert_eq!(world.subjects(office.secretary, "Sent").await, ["for the boss"]);
    let list = world.command(office.secretary, Request::Keys { ask: Keys::Delegations }).await;
    assert_eq!(list[0]["addresses"][0], boss);
    // Other names of the boss, and the boss's own leave to others, are not covered.
    let other = world.address_as(office.boss, "director");
    assert!(office.hand_in(&other, "as another").await.refusal().starts_with("55"));
    let list = world.command(office.boss, Request::Keys { ask: Keys::Delegations }).await;
    assert_eq!(list.as_array().map(Vec::len), Some(1), "the boss sees it too");
}

#[tokio::test(start_paused = true)]
async fn leave_that_has_run_out_or_was_given_by_a_revoked_key_is_refused_before_the_letter_leaves() {
    let office = Office::new(92).await;
    let boss = office.world.address(office.boss);
    office.delegate(1).await;
    office.hand_in(&boss, "in time").await.taken();
    arrived(&office.world, office.reader, "in time", hours(1)).await;
    pass(days(1) + minutes(1)).await;
    assert!(office.hand_in(&boss, "too late").await.refusal().starts_with("55"));
    office.delegate(30).await;
    let since = office.world.now(office.boss);
    let made = office.world.words(office.boss).revocation(since, since, "").unwrap();
    let statement = STANDARD.encode(made.bytes());
    office.world.command(office.boss, Request::Keys { ask: Keys::Revoke { statement } }).await;
    within(hours(1), "the secretary knows", async || {
        office
            .world
            .subjects(office.secretary, "Junk")
            .await
            .iter()
            .any(|subject| subject.starts_with("Revoked"))
    })
    .await;
    assert!(office.hand_in(&boss, "of a revoked one").await.refusal().starts_with("55"));
    let to = office.world.address(office.secretary);
    let ask = Keys::Delegate { to, names: Vec::new(), days: 3 };
    assert!(office.world.try_command(office.boss, Request::Keys { ask }).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_reader_takes_no_leave_that_is_missing_expired_of_another_name_or_for_another() {
    let office = Office::new(93).await;
    let now = office.world.now(office.boss);
    let later = UnixTime(now.0 + 86_400);
    let leaves = [
        ("none", None),
        ("expired", Some(office.sign(office.secretary, "boss", UnixTime(now.0 - 1)))),
        ("of another name", Some(office.sign(office.secretary, "director", later))),
        ("for another", Some(office.sign(office.reader, "boss", later))),
    ];
    for (nth, (subject, leave)) in leaves.into_iter().enumerate() {
        office.smuggle(subject, leave).await;
        let why = office.came_back(nth + 1).await;
        assert!(why.contains("names another onion than the one that signed it"), "{subject}: {why}");
    }
    office.smuggle("good", Some(office.sign(office.secretary, "boss", later))).await;
    arrived(&office.world, office.reader, "good", hours(1)).await;
    assert_eq!(
        office.world.subjects(office.reader, "INBOX").await,
        ["good"],
        "and nothing else, in no folder"
    );
    assert!(office.world.subjects(office.reader, "Requests").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_knows_that_the_principal_is_revoked_refuses_in_the_session() {
    let office = Office::new(94).await;
    let world = &office.world;
    world.write(office.boss, office.reader, "hello").await.taken();
    arrived(world, office.reader, "hello", hours(1)).await;
    let now = world.now(office.boss);
    let made = world.words(office.boss).revocation(now, now, "").unwrap();
    let ask = Keys::TakeIn { statement: STANDARD.encode(made.bytes()) };
    world.command(office.reader, Request::Keys { ask }).await;
    let leave = office.sign(office.secretary, "boss", UnixTime(now.0 + 86_400));
    office.smuggle("for the thief", Some(leave)).await;
    let why = office.came_back(1).await;
    assert!(why.contains("550") && why.contains("was revoked"), "{why}");
    assert!(!world.subjects(office.reader, "INBOX").await.contains(&"for the thief".to_owned()));
}
