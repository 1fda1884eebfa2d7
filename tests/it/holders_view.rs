//! What a holder sees: two letters of one contact look like one letter of each of two.
//!
//! Every byte that comes to a drop is recorded, and what is kept of letters and tokens. What is random by design
//! (names of letters and keys, tokens) is blotted out, what is sealed is counted; what is left must be the same in
//! both stories.

use crate::holders::{Held, becomes_holder, held};
use crate::world::{NodeId, World, arrived, minutes, pass};
use hmac::{Hmac, KeyInit as _, Mac as _};
use onion::{
    Bootstrap, BoxFuture, DialError, HostKey, ListenError, Listener, NetworkTime, OnionAddress, Stream,
    Transport,
};
use onionskin::model::hold::Token;
use onionskin::store::held::SpentRecord;
use sha2::Sha256;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, watch};

/// Hexadecimal digits of a token.
const TOKEN_DIGITS: usize = 74;

/// What came over one stream to a drop.
type Session = Arc<Mutex<Vec<u8>>>;
/// All sessions of the world under test; tests that use it take their turns.
static SESSIONS: Mutex<Vec<Session>> = Mutex::new(Vec::new());
/// Dials and departures of everybody, as they came.
static PATHS: Mutex<Vec<(OnionAddress, &str)>> = Mutex::new(Vec::new());
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A network that writes down what comes to the onions hosted beside identities, and how dials find their way.
struct Watched(Arc<dyn Transport>);

impl Transport for Watched {
    fn dial(
        &self,
        to: OnionAddress,
        port: u16,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Stream, DialError>> {
        PATHS.lock().unwrap().push((to, "dial"));
        self.0.dial(to, port, deadline)
    }

    fn leave_path(&self, to: OnionAddress) {
        PATHS.lock().unwrap().push((to, "leave"));
        self.0.leave_path(to);
    }

    fn listen(&self, key: HostKey, port: u16) -> BoxFuture<'_, Result<Listener, ListenError>> {
        self.0.listen(key, port)
    }

    fn host(&self, key: HostKey, port: u16) -> BoxFuture<'_, Result<Listener, ListenError>> {
        Box::pin(async move {
            let mut listener = self.0.host(key, port).await?;
            let (pass, incoming) = mpsc::channel(1);
            let relay = tokio::spawn(async move {
                while let Some(stream) = listener.accept().await {
                    let session = Session::default();
                    SESSIONS.lock().unwrap().push(session.clone());
                    if pass.send(Stream::new(Recorded { stream, session })).await.is_err() {
                        return;
                    }
                }
            });
            Ok(Listener::new(incoming, Box::new(Relay(relay))))
        })
    }

    fn network_time(&self) -> Option<NetworkTime> {
        self.0.network_time()
    }

    fn bootstrap(&self) -> watch::Receiver<Bootstrap> {
        self.0.bootstrap()
    }
}

struct Relay(tokio::task::JoinHandle<()>);

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Recorded {
    stream: Stream,
    session: Session,
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let done = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.session.lock().unwrap().extend_from_slice(&buf.filled()[before..]);
        done
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The tokens that were said in a session.
fn tokens(session: &[u8]) -> Vec<Token> {
    let text = String::from_utf8_lossy(session);
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() == TOKEN_DIGITS);
    words
        .filter_map(|word| Token::from_bytes(&data_encoding::HEXLOWER.decode(word.as_bytes()).ok()?))
        .collect()
}

/// A session with what is random blotted out and what is sealed counted.
fn blotted(session: &[u8]) -> String {
    let (lines, sealed) = match session.windows(22).position(|at| at == b"age-encryption.org/v1\n") {
        Some(at) => session.split_at(at),
        None => (session, &b""[..]),
    };
    let sealed = sealed.strip_suffix(b"QUIT\r\n").unwrap_or(sealed);
    let text = String::from_utf8_lossy(lines);
    let blot = |word: &str| -> String {
        let random = |run: &str| run.len() >= 16 && run.bytes().all(|byte| byte.is_ascii_alphanumeric());
        word.split_inclusive(|c: char| !c.is_ascii_alphanumeric())
            .map(|run| {
                let (body, end) = match run.chars().last() {
                    Some(c) if !c.is_ascii_alphanumeric() => run.split_at(run.len() - c.len_utf8()),
                    _ => (run, ""),
                };
                // Of a token the epoch and the class are not random.
                let blot = match body.len() {
                    TOKEN_DIGITS => format!("*{}*", &body[32..42]),
                    _ if random(body) => "*".to_owned(),
                    _ => body.to_owned(),
                };
                blot + end
            })
            .collect()
    };
    format!("{}[{} sealed]", blot(&text), sealed.len())
}

/// Both stories begin alike: Ann and Dave know where to leave letters for Bob.
async fn begin(seed: u64) -> (Held, NodeId) {
    SESSIONS.lock().unwrap().clear();
    PATHS.lock().unwrap().clear();
    let mut world = World::new(seed, Default::default());
    world.between = Some(|network| Arc::new(Watched(network)));
    let ann = world.add_started("ann").await;
    let bob = world.add_started("bob").await;
    let dave = world.add_started("dave").await;
    let carol = world.add_started("carol").await;
    becomes_holder(&world, carol, bob).await;
    for contact in [ann, dave] {
        let subject = format!("where to find me, {contact:?}");
        world.write(bob, contact, &subject).await.taken();
        arrived(&world, contact, &subject, minutes(5)).await;
    }
    world.stop(bob).await;
    pass(minutes(10)).await;
    SESSIONS.lock().unwrap().clear();
    (Held { world, ann, bob, holders: vec![carol] }, dave)
}

/// What Carol saw and what she keeps, in the order of time.
async fn seen(story: &Held) -> (Vec<String>, Vec<String>) {
    pass(minutes(10)).await;
    let sessions: Vec<String> =
        SESSIONS.lock().unwrap().iter().map(|session| blotted(&session.lock().unwrap())).collect();
    let said: Vec<Token> =
        SESSIONS.lock().unwrap().iter().flat_map(|session| tokens(&session.lock().unwrap())).collect();
    let (mailbox, record, letters) = held(&story.world, story.holders[0]).await;
    let carol = story.world.node(story.holders[0]).desk.store().clone();
    let spent = carol.read(move |rx| said.iter().map(|token| rx.held().spent(mailbox, token)).collect());
    let spent: Vec<Option<SpentRecord>> = spent.await.unwrap();
    let keys: std::collections::BTreeSet<_> = letters.iter().map(|letter| letter.prekey).collect();
    assert_eq!(keys.len(), 1, "the key is Bob's, the same for all");
    let mut rows: Vec<String> = letters
        .iter()
        .map(|letter| format!("{} {} {}", letter.size, letter.confirmed, letter.kept_until.0 / 86_400))
        .collect();
    rows.extend(spent.into_iter().map(|spent| {
        let SpentRecord { size, kept_until, made, .. } = spent.expect("each token has paid");
        format!("spent: {size} {} {}", kept_until.0 / 86_400, made.0 / 3600)
    }));
    rows.push(format!("{} letters, {} bytes", record.letters, record.used));
    (sessions, rows)
}

#[tokio::test(start_paused = true)]
async fn two_letters_of_one_contact_look_like_one_of_each_of_two() {
    let _turn = TURN.lock().await;
    let (story, _) = begin(21).await;
    story.world.write(story.ann, story.bob, "the first").await.taken();
    pass(minutes(2)).await;
    story.world.write(story.ann, story.bob, "the other").await.taken();
    let one = seen(&story).await;
    drop(story);
    let (story, dave) = begin(21).await;
    story.world.write(story.ann, story.bob, "the first").await.taken();
    pass(minutes(2)).await;
    story.world.write(dave, story.bob, "the other").await.taken();
    let two = seen(&story).await;
    assert_eq!(one.0.len(), 2, "a session for each letter: {:#?}", one.0);
    assert!(one.0[0].contains("EHLO depositor.invalid") && one.0[0].contains("MAIL FROM:<>"), "{}", one.0[0]);
    assert!(one.1.iter().filter(|row| row.starts_with("spent")).count() >= 2, "{:#?}", one.1);
    assert_eq!(one, two);
}

#[tokio::test(start_paused = true)]
async fn a_holder_keeps_no_author_no_contact_no_subject_and_no_text() {
    let _turn = TURN.lock().await;
    let (story, _) = begin(22).await;
    let carol = story.world.node(story.holders[0]);
    let ann = story.world.onion(story.ann);
    let before = carol.desk.store().read(move |rx| rx.peers().get(&ann)).await.unwrap();
    story.world.write(story.ann, story.bob, "a subject that nobody reads").await.taken();
    pass(minutes(5)).await;
    let after = carol.desk.store().read(move |rx| rx.peers().get(&ann)).await.unwrap();
    assert_eq!(before, after, "she was not met");
    let (_, _, letters) = held(&story.world, story.holders[0]).await;
    let kept = carol.desk.store().open_letter(letters[0].letter).await.unwrap();
    let bytes = kept.read_at(0, kept.len() as usize).await.unwrap();
    let heard: Vec<u8> =
        SESSIONS.lock().unwrap().iter().flat_map(|one| one.lock().unwrap().clone()).collect();
    let host = ann.host();
    for needle in [&host.as_bytes()[..20], ann.public_key(), b"a subject that", b"This is about", b"ann@"] {
        for hay in [&bytes, &heard] {
            assert!(
                !hay.windows(needle.len()).any(|at| at == needle),
                "{:?}",
                String::from_utf8_lossy(needle)
            );
        }
    }
    assert!(heard.len() > 4096 && bytes.starts_with(b"age-encryption.org/v1\n"));
}

#[tokio::test(start_paused = true)]
async fn each_letter_takes_a_way_of_its_own_to_a_drop() {
    let _turn = TURN.lock().await;
    let (story, _) = begin(23).await;
    let drop = held(&story.world, story.holders[0]).await.1.drop;
    PATHS.lock().unwrap().clear();
    for n in 0..3 {
        story.world.write(story.ann, story.bob, &format!("letter {n}")).await.taken();
    }
    pass(minutes(10)).await;
    let paths: Vec<&str> =
        PATHS.lock().unwrap().iter().filter(|(to, _)| *to == drop).map(|(_, what)| *what).collect();
    let dials = paths.iter().filter(|what| **what == "dial").count();
    assert_eq!(dials, 3, "{paths:?}");
    let fresh = paths.windows(2).filter(|pair| *pair == ["leave", "dial"]).count();
    assert_eq!(fresh, dials, "before each dial the way of the last one was left: {paths:?}");
}

#[tokio::test(start_paused = true)]
async fn the_holder_cannot_compute_the_names_of_tokens() {
    let _turn = TURN.lock().await;
    let (mut story, _) = begin(24).await;
    story.world.write(story.ann, story.bob, "whose token?").await.taken();
    pass(minutes(5)).await;
    let (_, record, letters) = held(&story.world, story.holders[0]).await;
    let own = story.world.onion(story.ann);
    let reader = story.world.onion(story.bob);
    let route = story
        .world
        .node(story.ann)
        .desk
        .store()
        .read(move |rx| rx.routes().get(&reader))
        .await
        .unwrap()
        .unwrap();
    // What Carol has: the key of the tokens, Ann's address, and as many tries as she likes.
    let guess = |key: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(b"onionskin/1 token nonce\0");
        mac.update(own.public_key());
        mac.update(&route.sequence.to_be_bytes());
        let number = |number: u32| mac.clone().chain_update(number.to_be_bytes()).finalize().into_bytes();
        (0..64).any(|at| number(at)[..16] == letters[0].nonce)
    };
    assert!(!guess(&record.key));
    // Bob has what it takes.
    let carol = story.world.onion(story.holders[0]);
    story.world.start(story.bob).await;
    let kept = story
        .world
        .node(story.bob)
        .desk
        .store()
        .read(move |rx| rx.holders().get(&carol))
        .await
        .unwrap()
        .unwrap();
    assert!(guess(&kept.collector_seed));
}
