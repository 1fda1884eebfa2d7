//! What the conversation must do with what clients send.

use super::*;

/// Feeds text and gathers the steps up to the next read or the end.
fn steps(conversation: &mut Conversation, text: &str) -> Vec<Step> {
    conversation.feed(text.as_bytes());
    let mut steps = Vec::new();
    loop {
        match conversation.next_step() {
            Step::Read => return steps,
            Step::Close => {
                steps.push(Step::Close);
                return steps;
            }
            Step::AppendStart(tag, _) => {
                conversation.accept_append(tag);
            }
            step => steps.push(step),
        }
    }
}

fn said(conversation: &mut Conversation) -> String {
    String::from_utf8(std::mem::take(conversation.output())).unwrap()
}

fn logged_in() -> Conversation {
    let mut conversation = Conversation::new();
    conversation.enter(State::Authenticated);
    conversation.output().clear();
    conversation
}

#[test]
fn commands_wait_for_their_state() {
    let mut conversation = Conversation::new();
    assert!(said(&mut conversation).starts_with("* OK [CAPABILITY IMAP4rev1 "));
    assert_eq!(steps(&mut conversation, "a LIST \"\" *\r\nb FETCH 1 FLAGS\r\n"), []);
    assert_eq!(said(&mut conversation), "a BAD log in first\r\nb BAD log in first\r\n");
    conversation.enter(State::Authenticated);
    assert_eq!(steps(&mut conversation, "c FETCH 1 FLAGS\r\nd LOGIN x y\r\n"), []);
    assert_eq!(said(&mut conversation), "c BAD select a mailbox first\r\nd BAD already logged in\r\n");
    conversation.enter(State::Selected);
    assert_eq!(steps(&mut conversation, "e CHECK\r\n"), [Step::Run("e".into(), Command::Check)]);
    assert_eq!(steps(&mut conversation, "f LOGOUT\r\ng NOOP\r\n"), [Step::Close]);
    assert_eq!(said(&mut conversation), "* BYE good-bye\r\nf OK logged out\r\n");
}

#[test]
fn small_literals_are_let_in_and_large_ones_refused_before_login() {
    let mut conversation = Conversation::new();
    conversation.output().clear();
    assert_eq!(steps(&mut conversation, "a LOGIN {3}\r\n"), []);
    assert_eq!(said(&mut conversation), "+ go ahead\r\n");
    let [Step::Run(_, Command::Login { user, .. })] = &steps(&mut conversation, "ann {2+}\r\npw\r\n")[..]
    else {
        panic!("a login");
    };
    assert_eq!(user, "ann");
    assert_eq!(steps(&mut conversation, "b LOGIN {4294967295}\r\n"), []);
    assert_eq!(said(&mut conversation), "b BAD [TOOBIG] the literal is too large\r\n");
    assert_eq!(steps(&mut conversation, "c APPEND INBOX {2000000}\r\n"), [], "no letter before login");
    assert!(said(&mut conversation).starts_with("c BAD [TOOBIG]"));
    assert_eq!(steps(&mut conversation, "d LOGIN {4294967295+}\r\n"), [Step::Close]);
}

#[test]
fn endless_lines_and_strangers_are_closed() {
    let mut conversation = Conversation::new();
    let endless = "x".repeat(LINE_LEN_MAX_BEFORE_LOGIN + 1);
    assert_eq!(steps(&mut conversation, &endless), [Step::Close]);
    let mut conversation = Conversation::new();
    let http = "GET / HTTP/1.1\r\n".repeat(BAD_COMMANDS_MAX as usize);
    assert_eq!(steps(&mut conversation, &http), [Step::Close]);
}

#[test]
fn sasl_lines_are_decoded_and_can_be_cancelled() {
    let mut conversation = Conversation::new();
    let start = Step::SaslStart("a".into(), "PLAIN".into(), None);
    assert_eq!(steps(&mut conversation, "a AUTHENTICATE plain\r\n"), [start]);
    conversation.output().clear();
    conversation.challenge("a".into(), b"");
    assert_eq!(said(&mut conversation), "+ \r\n");
    assert_eq!(
        steps(&mut conversation, "AGEAYg==\r\n"),
        [Step::SaslResponse("a".into(), b"\0a\0b".to_vec())]
    );
    conversation.challenge("a".into(), b"x");
    assert_eq!(steps(&mut conversation, "*\r\nb NOOP\r\n"), [Step::Run("b".into(), Command::Noop)]);
    assert_eq!(said(&mut conversation), "+ eA==\r\na BAD authentication cancelled\r\n");
    for _ in 0..FAILED_LOGINS_MAX {
        conversation.login_failed("c");
    }
    assert_eq!(conversation.next_step(), Step::Close);
}

#[test]
fn a_letter_is_handed_on_in_pieces_and_ended_by_its_line() {
    let mut conversation = logged_in();
    let piece = |text: &str| Step::AppendPiece(text.as_bytes().to_vec());
    let end = Step::AppendEnd("a".into());
    assert_eq!(steps(&mut conversation, "a APPEND INBOX {5}\r\n"), []);
    assert_eq!(said(&mut conversation), "+ go ahead\r\n");
    assert_eq!(steps(&mut conversation, "hello\r\n"), [piece("hello"), end.clone()]);
    assert_eq!(steps(&mut conversation, "a APPEND INBOX {0+}\r\n\r\n"), [end]);
    let steps = steps(&mut conversation, "b APPEND INBOX {1+}\r\nx {1+}\r\ny\r\nc NOOP\r\n");
    assert_eq!(steps, [piece("x"), Step::AppendCancel, Step::Run("c".into(), Command::Noop)]);
    assert_eq!(said(&mut conversation), "b BAD one APPEND takes one letter\r\n");
}

#[test]
fn a_refused_letter_is_skipped_if_it_comes() {
    let mut conversation = logged_in();
    conversation.feed(b"a APPEND Outbox {4+}\r\nabcd\r\nb NOOP\r\n");
    assert!(matches!(conversation.next_step(), Step::AppendStart(..)));
    conversation.refuse_append("a", "NO [CANNOT] no");
    assert_eq!(conversation.next_step(), Step::Run("b".into(), Command::Noop));
    conversation.feed(b"c APPEND Outbox {4}\r\n");
    assert!(matches!(conversation.next_step(), Step::AppendStart(..)));
    conversation.refuse_append("c", "NO [CANNOT] no");
    assert_eq!(steps(&mut conversation, "d NOOP\r\n"), [Step::Run("d".into(), Command::Noop)]);
    assert_eq!(steps(&mut conversation, &format!("e APPEND INBOX {{{}}}\r\n", u64::MAX)), []);
    assert_eq!(
        said(&mut conversation),
        "a NO [CANNOT] no\r\nc NO [CANNOT] no\r\ne NO [TOOBIG] the letter is too large\r\n"
    );
    conversation.feed(b"f APPEND INBOX {4+}\r\nab");
    let Step::AppendStart(tag, _) = conversation.next_step() else { panic!("an append") };
    conversation.accept_append(tag);
    assert!(matches!(conversation.next_step(), Step::AppendPiece(_)));
    conversation.fail_append("f", "NO [LIMIT] full");
    assert_eq!(steps(&mut conversation, "cd\r\ng NOOP\r\n"), [Step::Run("g".into(), Command::Noop)]);
}

#[test]
fn idle_ends_with_done_and_nothing_else() {
    let mut conversation = logged_in();
    assert_eq!(steps(&mut conversation, "a IDLE\r\n"), [Step::Run("a".into(), Command::Idle)]);
    conversation.idle("a".into());
    assert!(conversation.is_idle());
    assert_eq!(steps(&mut conversation, "done\r\n"), [Step::IdleEnd("a".into())]);
    conversation.idle("b".into());
    assert_eq!(steps(&mut conversation, "c NOOP\r\n"), [Step::Close]);
}

/// Everything the machine does with these bytes, cut where `cuts` says; an APPEND is always let in.
fn played(bytes: &[u8], cuts: &[usize], state: State) -> (Vec<Step>, Vec<u8>) {
    let mut conversation = Conversation::new();
    conversation.enter(state);
    let (mut steps, mut rest, mut cuts) = (Vec::new(), bytes, cuts.iter().cycle());
    while !rest.is_empty() {
        let cut = cuts.next().copied().unwrap_or(1).clamp(1, rest.len());
        conversation.feed(&rest[..cut]);
        rest = &rest[cut..];
        loop {
            let step = conversation.next_step();
            match &step {
                Step::Read => break,
                Step::Close => return (steps, said(&mut conversation).into_bytes()),
                Step::AppendStart(tag, _) => conversation.accept_append(tag.clone()),
                Step::Run(tag, Command::Idle) => conversation.idle(tag.clone()),
                Step::Run(tag, _) | Step::AppendEnd(tag) => conversation.reply(tag, "OK"),
                Step::SaslStart(tag, ..) => conversation.challenge(tag.clone(), b"?"),
                Step::SaslResponse(tag, _) => conversation.login_failed(tag),
                Step::AppendPiece(_) | Step::AppendCancel | Step::IdleEnd(_) => {}
            }
            // Pieces may be cut anywhere; together they are the same letter.
            match (steps.last_mut(), step) {
                (Some(Step::AppendPiece(before)), Step::AppendPiece(piece)) => before.extend(piece),
                (_, step) => steps.push(step),
            }
        }
    }
    (steps, String::from_utf8_lossy(conversation.output()).into_owned().into_bytes())
}

/// Words that make and break commands.
const WORDS: [&str; 32] = [
    "a ",
    "LOGIN ",
    "x ",
    "y",
    "\r\n",
    "{2}\r\n",
    "{2+}\r\n",
    "{3}",
    "\"",
    "\\",
    "APPEND ",
    "INBOX ",
    "(",
    ")",
    "\\Seen",
    "FETCH ",
    "1:*",
    ",",
    "BODY[",
    "]",
    "<0.1>",
    "UID ",
    "SEARCH ",
    "NOT ",
    "OR ",
    "AUTHENTICATE PLAIN",
    "IDLE\r\n",
    "DONE\r\n",
    "*",
    "\0",
    "\u{fc}",
    "STORE 1 +FLAGS ",
];

proptest::proptest! {
    #[test]
    fn any_cut_of_any_bytes_gives_the_same_steps(
        words in proptest::collection::vec(0..WORDS.len(), 0..60),
        noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20),
        cuts in proptest::collection::vec(1_usize..9, 1..5),
        state in 0_usize..3,
    ) {
        let text: String = words.iter().map(|at| WORDS[*at]).collect();
        let bytes = [text.as_bytes(), &noise, b"\r\nz NOOP\r\n"].concat();
        let state = [State::NotAuthenticated, State::Authenticated, State::Selected][state];
        let whole = played(&bytes, &[bytes.len()], state);
        proptest::prop_assert_eq!(played(&bytes, &cuts, state), whole);
    }
}
