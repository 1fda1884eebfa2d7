//! Replays the scripts of `tests/traces/smtp`. `README.md` there tells their form.

use super::super::Take;
use super::super::client::{CardAnswer, Outcome, Step};
use super::holding::token;
use super::*;
use std::fs;
use std::path::Path;

/// One line of a script: its mark and its text, unescaped.
struct Line {
    mark: char,
    text: Vec<u8>,
    number: usize,
}

/// Which machine a script is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Onion,
    Drop,
    Submission,
    Client,
    Depositor,
    Collector,
}

impl Side {
    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "onion" => Self::Onion,
            "drop" => Self::Drop,
            "submission" => Self::Submission,
            "client" => Self::Client,
            "depositor" => Self::Depositor,
            "collector" => Self::Collector,
            _ => return None,
        })
    }

    fn is_server(self) -> bool {
        matches!(self, Self::Onion | Self::Drop | Self::Submission)
    }

    fn machine(self) -> Box<dyn Machine> {
        let sender = |client| {
            let (content, sent, log) = Default::default();
            Box::new(Sender { client, content, sent, log, closed: false })
        };
        match self {
            Self::Onion => Box::new(Driven::new(onion_role())),
            Self::Drop => Box::new(Driven::new(drop_role())),
            Self::Submission => Box::new(Driven::new(submission_role())),
            Self::Client => sender(client()),
            Self::Depositor => sender(depositor()),
            Self::Collector => sender(client_of(4, 3)),
        }
    }
}

/// Writes names and tokens for what stands in braces.
fn fill(text: &str) -> String {
    let names = [("{ann}", 1), ("{bob}", 2), ("{drop}", 3), ("{collector}", 4)];
    let text =
        names.iter().fold(text.to_owned(), |text, (name, seed)| text.replace(name, &onion(*seed).host()));
    let tokens = [("{token}", token(0x2a, 2)), ("{other}", token(0x2b, 2)), ("{small}", token(0x2c, 0))];
    tokens.iter().fold(text, |text, (name, token)| text.replace(name, &token.to_hex()))
}

fn parse(text: &str) -> (Side, Vec<Line>) {
    let mut side = None;
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        match line.split_once(": ").or_else(|| line.strip_suffix(':').map(|mark| (mark, ""))) {
            None => assert!(line.is_empty() || line.starts_with('#'), "line {}: {line}", at + 1),
            Some(_) if line.starts_with('#') => {}
            Some(("machine", word)) => side = Side::from_word(word),
            Some((mark, rest)) => {
                assert!(["C", "S", "c", "s", "D", "E"].contains(&mark), "line {}: {line}", at + 1);
                let mark = mark.chars().next().unwrap();
                let rest = fill(rest);
                let text = match mark {
                    'C' | 'S' => [unescape(&rest), b"\r\n".to_vec()].concat(),
                    'c' | 's' => unescape(&rest),
                    _ => rest.into_bytes(),
                };
                lines.push(Line { mark: mark.to_ascii_uppercase(), text, number: at + 1 });
            }
        }
    }
    (side.expect("a script names its machine"), lines)
}

/// `\r`, `\n`, `\0`, `\x` with two digits.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let byte = match letter {
            '\\' => match letters.next() {
                Some('r') => b'\r',
                Some('n') => b'\n',
                Some('0') => 0,
                Some('x') => {
                    let digits: String = letters.by_ref().take(2).collect();
                    u8::from_str_radix(&digits, 16).unwrap()
                }
                other => panic!("unknown escape {other:?}"),
            },
            plain => u8::try_from(plain).expect("scripts are Latin-1"),
        };
        bytes.push(byte);
    }
    bytes
}

/// A machine with its driver: takes what the other side says and what its owner wants, and notes what comes of it.
trait Machine {
    fn hear(&mut self, bytes: &[u8]);
    fn obey(&mut self, order: &str);
    /// What it said since the last call, and what it told its owner.
    fn taken(&mut self) -> (Vec<u8>, Vec<String>);
}

impl Machine for Driven {
    fn hear(&mut self, bytes: &[u8]) {
        if self.run() != Pause::Close {
            self.server.feed(bytes).unwrap();
        }
    }

    fn obey(&mut self, order: &str) {
        self.run();
        let (word, rest) = order.split_once(' ').unwrap_or((order, ""));
        match order {
            _ if word == "card" => {
                let (sequence, card) = rest.split_once(" | ").unwrap();
                self.card = Some((sequence.parse().unwrap(), bytes_of(card)));
            }
            "no card" => self.card = None,
            _ if word == "hold" => {
                self.shelf.hold(&bytes_of(rest));
            }
            _ if word == "room" => self.shelf.room = rest.parse().unwrap(),
            _ if word == "page" => self.shelf.page = rest.parse().unwrap(),
            _ if word == "receipt" => self.receipt = Some(bytes_of(rest)),
            "eof" => self.server.eof(),
            "expire" => self.server.expire(),
            "shut" => self.server.shut(),
            "refuse begin" => self.refuse_begin = Some(Reply::new(452, 2, 2, "full")),
            "refuse finish" => self.refuse_finish = Some(Reply::new(554, 7, 0, "no")),
            _ => panic!("unknown order {order}"),
        }
    }

    fn taken(&mut self) -> (Vec<u8>, Vec<String>) {
        if self.run() == Pause::Close {
            self.note("close");
        }
        (std::mem::take(&mut self.seen.sent), std::mem::take(&mut self.log))
    }
}

/// The bytes of an order. `*` stands for what is too large to be written down: so many lines of sixteen bytes.
fn bytes_of(text: &str) -> Vec<u8> {
    match text.strip_prefix('*') {
        Some(lines) => b"0123456789abcd\r\n".repeat(lines.parse().unwrap()),
        None => unescape(text),
    }
}

/// What is long is told by its length.
fn told(bytes: &[u8]) -> String {
    if bytes.len() > 100 {
        format!("of {} bytes", bytes.len())
    } else {
        format!("{:?}", String::from_utf8_lossy(bytes))
    }
}

/// A client with its driver.
struct Sender {
    client: Client,
    content: Vec<u8>,
    sent: Vec<u8>,
    log: Vec<String>,
    closed: bool,
}

impl Sender {
    fn run(&mut self) {
        loop {
            match self.client.next() {
                Step::Send(bytes) => self.sent.extend(bytes),
                Step::Read(_) | Step::Idle => return,
                Step::WantBody { at, max } => {
                    let at = usize::try_from(at).unwrap();
                    let piece = self.content[at..self.content.len().min(at + max)].to_vec();
                    self.client.body(&piece).unwrap();
                }
                Step::Done { outcomes, receipt } => {
                    let words: Vec<String> = outcomes.iter().map(outcome_word).collect();
                    let receipt =
                        receipt.map_or_else(String::new, |receipt| format!(", receipt {}", told(&receipt)));
                    self.log.push(format!("done {}{receipt}", words.join(", ")));
                }
                Step::Card(answer) => self.log.push(match answer {
                    CardAnswer::Card(card) => format!("card {}", told(&card)),
                    CardAnswer::NothingNewer => "card: nothing newer".to_owned(),
                    CardAnswer::None => "card: none".to_owned(),
                }),
                Step::Etrn(reply) => self.log.push(format!("etrn {reply}")),
                Step::Held(answer) => self.log.push(match answer {
                    Ok(list) => {
                        let letters = list
                            .letters
                            .iter()
                            .map(|held| format!("{} of {}, ", held.letter.to_hex(), held.size));
                        format!(
                            "held: {}{}",
                            letters.collect::<String>(),
                            if list.more { "more" } else { "complete" }
                        )
                    }
                    Err(reply) => format!("held: refused {}", reply.code),
                }),
                Step::Taken(answer) => self.log.push(match answer {
                    Ok(octets) => format!("taken {}", told(&octets)),
                    Err(reply) => format!("taken: refused {}", reply.code),
                }),
                Step::Dropped(answer) => self.log.push(done_word("dropped", answer)),
                Step::Recalled(answer) => self.log.push(done_word("recalled", answer)),
                Step::Failed(failure) => {
                    let doubt = if failure.maybe_delivered { ", maybe delivered" } else { "" };
                    self.log.push(format!("failed: {}{doubt}", failure.cause));
                }
                Step::Close => {
                    if !std::mem::replace(&mut self.closed, true) {
                        self.log.push("close".to_owned());
                    }
                    return;
                }
            }
        }
    }
}

fn done_word(word: &str, answer: Result<(), Reply>) -> String {
    answer.map_or_else(|reply| format!("{word}: refused {}", reply.code), |()| word.to_owned())
}

fn outcome_word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted => "accepted".to_owned(),
        Outcome::Deferred(reply) if reply.is_stale_key() => format!("deferred {}, stale key", reply.code),
        Outcome::Deferred(reply) => format!("deferred {}", reply.code),
        Outcome::Refused(reply) => format!("refused {}", reply.code),
    }
}

impl Machine for Sender {
    fn hear(&mut self, bytes: &[u8]) {
        self.run();
        self.client.feed(bytes).unwrap();
    }

    fn obey(&mut self, order: &str) {
        self.run();
        let (word, rest) = order.split_once(' ').unwrap_or((order, ""));
        match word {
            "eof" => self.client.eof(),
            "expire" => self.client.expire(),
            "quit" => self.client.quit(),
            "etrn" => self.client.etrn().unwrap(),
            "card" => self.client.ask_card((!rest.is_empty()).then(|| rest.parse().unwrap())).unwrap(),
            "deposit" => {
                let (token, content) = rest.split_once(" | ").unwrap();
                self.content = bytes_of(content);
                let letter = deposit(&self.content, Token::from_hex(token).unwrap());
                self.client.letter(letter).unwrap();
            }
            "held" => self.client.ask_held(LetterId::from_hex(rest)).unwrap(),
            "take" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let (letter, offset) = (LetterId::from_hex(words[0]).unwrap(), words[1].parse().unwrap());
                self.client.take(Take { letter, offset, max: words[2].parse().unwrap() }).unwrap();
            }
            "drop" => {
                let letters: Vec<LetterId> =
                    rest.split(' ').map(|word| LetterId::from_hex(word).unwrap()).collect();
                self.client.drop_letters(&letters).unwrap();
            }
            "recall" => {
                let (letter, token) = rest.split_once(' ').unwrap();
                let (letter, token) = (LetterId::from_hex(letter).unwrap(), Token::from_hex(token).unwrap());
                self.client.recall(letter, token).unwrap();
            }
            "letter" => {
                let (names, content) = rest.split_once(" | ").unwrap();
                self.content = bytes_of(content);
                let mark = |name: &str| name == "utf8" || name == "sealed" || name.starts_with("card=");
                let (marks, wanted): (Vec<&str>, Vec<&str>) = names.split(' ').partition(|name| mark(name));
                let mut letter = outgoing(&wanted, self.content.len());
                letter.utf8_header = marks.contains(&"utf8");
                letter.eight_bit = names.contains("eight");
                letter.sealed = marks.contains(&"sealed").then_some(PREKEY);
                letter.ask_card = marks
                    .iter()
                    .find_map(|mark| mark.strip_prefix("card="))
                    .map(|known| known.parse().unwrap());
                self.client.letter(letter).unwrap();
            }
            _ => panic!("unknown order {order}"),
        }
    }

    fn taken(&mut self) -> (Vec<u8>, Vec<String>) {
        self.run();
        (std::mem::take(&mut self.sent), std::mem::take(&mut self.log))
    }
}

/// Plays a script against the machine, what is heard being split into pieces of `step` bytes.
fn play(name: &str, machine: &mut dyn Machine, side: Side, lines: &[Line], step: usize) {
    let (heard, said) = if side.is_server() { ('C', 'S') } else { ('S', 'C') };
    let mut at = 0;
    while at < lines.len() {
        let block = at;
        let mut wire: Vec<u8> = Vec::new();
        while let Some(line) = lines.get(at).filter(|line| line.mark == heard || line.mark == 'D') {
            if line.mark == 'D' {
                wire.chunks(step).for_each(|piece| machine.hear(piece));
                wire.clear();
                machine.obey(std::str::from_utf8(&line.text).unwrap());
            } else {
                wire.extend_from_slice(&line.text);
            }
            at += 1;
        }
        wire.chunks(step).for_each(|piece| machine.hear(piece));
        let (mut bytes, mut events) = (Vec::new(), Vec::new());
        while let Some(line) = lines.get(at).filter(|line| line.mark == said || line.mark == 'E') {
            if line.mark == 'E' {
                events.push(String::from_utf8(line.text.clone()).unwrap());
            } else {
                bytes.extend_from_slice(&line.text);
            }
            at += 1;
        }
        let (got, told) = machine.taken();
        let place = format!("{name}, line {}, by {step}", lines[block].number);
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&bytes), "{place}");
        assert_eq!(told, events, "{place}");
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces/smtp")
}

#[test]
fn every_trace_is_replayed_as_it_is_written() {
    let mut played = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "trace") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (side, lines) = parse(&fs::read_to_string(&path).unwrap());
        assert!(!lines.is_empty(), "{name} is empty");
        for step in [1, 7, limits::READ_LEN_MAX] {
            let mut machine = side.machine();
            play(&name, &mut *machine, side, &lines, step);
        }
        played += 1;
    }
    assert!(played >= 15, "only {played} traces were found");
}

#[test]
fn the_protocol_document_shows_the_traces_that_are_tested() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md");
    let document = fs::read_to_string(document).unwrap();
    let trace = fs::read_to_string(folder().join("onion_first_letter.trace")).unwrap();
    let lines: Vec<&str> =
        trace.lines().filter(|line| ["C: ", "S: "].iter().any(|m| line.starts_with(m))).collect();
    assert!(lines.len() > 10);
    assert!(document.contains(&lines.join("\n")), "docs/protocol.md shows another trace");
    // And every other piece of a session in it is one of a trace.
    let spoken = |line: &&str| ["C: ", "S: ", "c: ", "s: "].iter().any(|mark| line.starts_with(mark));
    let traces: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
        .map(|trace| fill(&trace))
        .map(|trace| trace.lines().filter(spoken).collect::<Vec<_>>().join("\n"))
        .collect();
    let shown: Vec<&str> = document.split("```\n").filter(|block| block.starts_with("C: ")).collect();
    assert_eq!(shown.len(), 8);
    for block in shown {
        assert!(traces.iter().any(|trace| trace.contains(block.trim_end())), "no trace has:\n{block}");
    }
}
