//! The command line as a newcomer, a script and a careless person meet it: the real program, its words, its exit
//! codes (sysexits) and what it leaves behind.
//!
//! `cli_letters` has what concerns letters and the queue, `cli_doors` the control socket.

use crate::cli_house::{DEADLINE, House, Hub, Node, mode, onionskin, run};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The 24 words that were shown.
fn words(shown: &str) -> Vec<String> {
    let mut words = Vec::new();
    for line in shown.lines() {
        let mut cells = line.split_whitespace();
        while let (Some(number), Some(word)) = (cells.next(), cells.next()) {
            if number == format!("{}.", words.len() + 1) {
                words.push(word.to_owned());
            }
        }
    }
    words
}

fn onion(address: &str) -> &str {
    address.split_once('@').expect("an address").1
}

#[test]
fn init_shows_address_and_words_and_says_that_the_disk_is_unprotected() {
    let house = House::empty();
    let shown = house.run(&["init", "--name", "Ann"]).good();
    assert_eq!(words(&shown).len(), 24, "{shown}");
    assert!(shown.contains("The disk is unprotected") && shown.contains("onionskin up"), "{shown}");
    let address = house.run(&["address"]).good();
    assert!(address.starts_with("ann@") && shown.contains(address.trim()), "{address}{shown}");
    assert!(house.run(&["status"]).good().contains("unprotected"));
    assert_eq!(mode(&house.data), 0o700);
    for file in fs::read_dir(&house.data).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    house.run(&["init"]).bad(73, &["there is an identity in this data directory already", "--data-dir DIR"]);
    assert_eq!(house.run(&["address"]).good(), address);
}

#[test]
fn without_an_identity_every_command_says_how_to_make_one() {
    let house = House::empty();
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["address"],
        &["inbox"],
        &["queue"],
        &["credentials"],
        &["read", "1"],
        &["send", "x", "-m", "y"],
    ] {
        house.run(args).bad(78, &["there is no identity here yet", "onionskin up"]);
    }
    assert!(!house.data.exists(), "looking makes nothing");
}

#[test]
fn the_words_bring_the_same_address_back() {
    let (house, address) = (House::empty(), String::new());
    let words = words(&house.run(&["init", "--name", "ann"]).good());
    let address = address + house.run(&["address"]).good().trim();

    let other = House::empty();
    let text: String = words.iter().enumerate().map(|(at, word)| format!("{}. {word}\n", at + 1)).collect();
    let shown = other.run_with(&["init", "--recover", "--name", "bea"], text.as_bytes()).good();
    assert!(shown.contains(&format!("bea@{}", onion(&address))), "{shown}");
    assert!(!shown.contains(&words.join(" ")) && !shown.contains("24 words"), "{shown}");
    assert_eq!(onion(&address), onion(other.run(&["address"]).good().trim()));
}

#[test]
fn a_wrong_recovery_word_is_named_with_a_suggestion_and_nothing_is_made() {
    let house = House::empty();
    let recover = |text: &str| house.run_with(&["init", "--recover"], text.as_bytes());
    let zero = format!("{}art", "abandon ".repeat(23));
    recover(&zero.replacen("abandon", "abandonn", 1)).bad(65, &["word 1, \"abandonn\"", "abandon)"]);
    recover(&zero.replace(" art", "")).bad(65, &["23"]);
    recover(&zero.replace(" art", " abandon")).bad(65, &["word"]);
    recover("").bad(65, &["nothing was made"]);
    house.run_with(&["init", "--recover"], b"\xff\xfe").bad(66, &["words could not be read"]);
    assert!(!house.data.exists());
    recover(&zero).good();
}

#[test]
fn the_first_up_shows_the_words_once_and_files_one_welcome() {
    let (house, hub) = (House::empty(), Hub::new());
    let (_, first) = house.up(&hub).stop("-TERM");
    assert_eq!(words(&first).len(), 24, "{first}");
    let (_, second) = house.up(&hub).stop("-INT");
    assert!(words(&second).is_empty() && second.contains("Address    me@"), "{second}");
    for said in [&first, &second] {
        assert!(said.contains("IMAP 127.0.0.1, port ") && said.contains("SMTP 127.0.0.1, port "), "{said}");
        assert!(said.trim_end().ends_with("stays queued"), "{said}");
    }
    let inbox = house.run(&["inbox", "--json"]).json();
    assert_eq!(inbox.as_array().map(Vec::len), Some(1), "{inbox}");
    assert_eq!(inbox[0]["subject"], "Welcome to your own mail");
}

#[test]
fn after_init_the_first_up_files_the_welcome_too() {
    let ((house, _), hub) = (House::of("ann"), Hub::new());
    for _ in 0..2 {
        drop(house.up(&hub));
    }
    assert_eq!(house.run(&["inbox", "--json"]).json().as_array().map(Vec::len), Some(1));
}

#[test]
fn a_running_node_tells_scripts_where_to_read_and_send_and_stops_within_seconds() {
    let ((house, address), hub) = (House::of("ann"), Hub::new());
    let node = house.up(&hub);
    let status = house.run(&["status", "--json"]).json();
    let identity = &status["identities"][0];
    assert_eq!(status["identities"].as_array().map(Vec::len), Some(1));
    assert_eq!(identity["address"], address.as_str());
    assert_eq!(identity["reachable"], true);
    assert_eq!(identity["waiting"], 0);
    assert_eq!(identity["errors"].as_array().map(Vec::len), Some(0));
    for door in ["imap", "smtp"] {
        assert_eq!(identity[door]["host"], "127.0.0.1");
        let port = u16::try_from(identity[door]["port"].as_u64().unwrap()).unwrap();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    }
    assert_eq!(mode(&house.data.join("control.sock")), 0o600);

    let again = house.run(&["up", "--network", "sim:nowhere"]);
    again.bad(75, &["running already", "onionskin status"]);
    house.run(&["init"]).bad(73, &["already"]);

    let minted = house.run(&["credentials", "--json", "--label", "mutt"]).json();
    assert_eq!(minted["user"], address.as_str());
    assert_eq!(minted["imap"], identity["imap"]);
    assert!(minted["password"].as_str().is_some_and(|password| password.len() >= 20));
    assert!(house.run(&["credentials", "--list"]).good().contains("mutt"));
    house.run(&["credentials", "--revoke", "1"]).good();
    house.run(&["credentials", "--revoke", "1"]).bad(66, &["no password with the number 1"]);

    let (took, _) = node.stop("-TERM");
    assert!(took < Duration::from_secs(4), "it took {took:?}");
    assert!(!house.data.join("control.sock").exists());
    let status = house.run(&["status", "--json"]).json();
    assert_eq!((&status["running"], &status["identities"][0]["reachable"]), (&false.into(), &false.into()));
}

#[test]
fn a_port_that_is_taken_is_named_with_its_flag() {
    let (house, _) = House::of("ann");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for flag in ["--imap-port", "--smtp-port"] {
        let other = if flag == "--imap-port" { "--smtp-port" } else { "--imap-port" };
        let ran = house.run(&["up", "--network", "sim:nowhere", other, "0", flag, &port]);
        ran.bad(69, &[&port, flag, "another program has it"]);
    }
}

#[test]
fn the_passphrase_comes_from_a_descriptor_or_not_at_all_where_there_is_no_terminal() {
    let house = House::empty();
    let with = |args: &[&str], input: &str| {
        let args = [&["--passphrase-fd", "0"], args].concat();
        house.run_with(&args, input.as_bytes())
    };
    with(&["init"], "\n").bad(66, &["empty", "--passphrase-fd"]);
    let shown = with(&["init", "--name", "ann"], "a secret\n").good();
    assert!(shown.contains("protected by your passphrase"), "{shown}");

    // A service has no terminal: it ends at once and says what it needs.
    house.run(&["up", "--network", "sim:nowhere"]).bad(66, &["passphrase", "--passphrase-fd FD"]);
    house.run(&["inbox"]).bad(66, &["passphrase"]);
    with(&["inbox"], "a guess\n").bad(77, &["passphrase is wrong"]);
    let status = house.run(&["status", "--json"]).json();
    assert_eq!((&status["locked"], &status["running"]), (&true.into(), &false.into()));

    // The letter follows the passphrase, and the passphrase stays out of it.
    let to = with(&["address"], "a secret\r\n").good();
    with(&["send", to.trim()], "a secret\nthe text\n").good();
    let letter = with(&["read", "1"], "a secret").good();
    assert!(letter.contains("the text") && !letter.contains("secret"), "{letter}");

    let script = r#"exec "$0" --data-dir "$1" --passphrase-fd 3 address 3<"$2""#;
    let file = house.root.path().join("passphrase");
    fs::write(&file, "a secret\nnot this").unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_onionskin")]).arg(&house.data).arg(&file);
    assert_eq!(run(&mut shell, b"").good(), to);
    house.run(&["--passphrase-fd", "9", "address"]).bad(66, &["descriptor 9"]);
}

/// Types at a terminal what it is told to, each time the prompt has appeared and the echo is off (what is typed
/// earlier is thrown away); prints what was shown.
const TYPIST: &str = r#"
import os, pty, select, signal, sys, termios, time
answers = [pair.split("=", 1) for pair in sys.argv[1].split(";")]
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
shown, seen, end = b"", 0, time.monotonic() + 60
while True:
    if select.select([terminal], [], [], 0.02)[0]:
        try:
            shown += os.read(terminal, 65536)
        except OSError:
            break
    elif answers and answers[0][0].encode() in shown[seen:]:
        if not termios.tcgetattr(terminal)[3] & termios.ECHO:
            seen = len(shown)
            os.write(terminal, answers.pop(0)[1].encode() + b"\n")
    elif time.monotonic() > end:
        os.kill(child, signal.SIGKILL)
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255)
"#;

#[test]
fn at_a_terminal_the_passphrase_is_asked_for_and_not_shown() {
    let house = House::empty();
    let typed = |answers: &str, args: &[&str]| {
        let mut python = Command::new("python3");
        python.args(["-c", TYPIST, answers, env!("CARGO_BIN_EXE_onionskin"), "--data-dir"]);
        run(python.arg(&house.data).args(args), b"")
    };
    let made = typed("unprotected)=s3cret;again=other;Choose=s3cret;again=s3cret", &["init"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.out.contains("protected by your passphrase") && !made.out.contains("s3cret"), "{made:?}");
    assert!(made.out.contains("not the same"), "{made:?}");
    let known = typed("Passphrase=s3cret", &["address"]);
    assert!(known.code == Some(0) && known.out.contains("me@"), "{known:?}");
    let wrong = typed("Passphrase=guess", &["address"]);
    assert!(wrong.code == Some(77) && wrong.out.contains("passphrase is wrong"), "{wrong:?}");
}

#[test]
fn words_that_nobody_could_read_are_not_in_use() {
    let house = House::empty();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut init = house.command(&["init"]);
    let output = init.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(74), "{err}");
    assert!(
        err.contains("recovery words could not be shown") && err.contains("no identity was made"),
        "{err}"
    );
    house.run(&["address"]).bad(78, &["no identity"]);
    // The attempt is completed, with words that are seen.
    assert_eq!(words(&house.run(&["init"]).good()).len(), 24);
    house.run(&["address"]).good();
    house.run(&["init"]).bad(73, &["already"]);
}

#[test]
fn what_an_interrupted_init_left_is_completed() {
    for left in [&["lock"][..], &["lock", "unfinished"], &["lock", "unfinished", "vault.new"]] {
        let house = House::empty();
        fs::create_dir(&house.data).unwrap();
        for name in left {
            fs::write(house.data.join(name), "").unwrap();
        }
        house.run(&["address"]).bad(78, &["no identity"]);
        house.run(&["init"]).good();
        house.run(&["address"]).good();
        assert!(!house.data.join("unfinished").exists());
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let (house, _) = House::of("ann");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = house.command(&["status"]).stdout(writer).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_directory_that_is_not_ours_is_left_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = House::empty();
    fs::create_dir(&house.data).unwrap();
    fs::set_permissions(&house.data, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(house.data.join("thesis.txt"), "years of work").unwrap();
    house.run(&["status"]).bad(78, &["no identity"]);
    house.run(&["init"]).bad(73, &["holds other files"]);
    house.run(&["up", "--network", "sim:nowhere"]).bad(73, &["holds other files"]);
    assert_eq!(mode(&house.data), 0o755);
    assert_eq!(fs::read_dir(&house.data).unwrap().count(), 1);

    let file = house.root.path().join("file");
    fs::write(&file, "").unwrap();
    for command in ["init", "status", "up"] {
        let ran = run(onionskin().arg("--data-dir").arg(&file).arg(command), b"");
        ran.bad(73, &["file is not a directory"]);
    }
}

#[test]
fn a_lost_vault_is_named_and_nothing_is_made_over_it() {
    let (house, _) = House::of("ann");
    fs::remove_file(house.data.join("vault")).unwrap();
    house.run(&["up", "--network", "sim:nowhere"]).bad(65, &["\"vault\" is missing", "--recover"]);
    house.run(&["status"]).bad(65, &["\"vault\" is missing"]);
    house.run(&["init"]).bad(73, &["already"]);
}

#[test]
fn a_path_longer_than_a_socket_address_works_and_the_variable_names_it() {
    let (mut house, hub) = (House::empty(), Hub::new());
    house.data = house.root.path().join("x".repeat(100)).join("y".repeat(100));
    let node = house.up(&hub);
    let ran = run(onionskin().env("ONIONSKIN_DATA_DIR", &house.data).args(["status", "--json"]), b"");
    assert_eq!(ran.json()["running"], true);
    node.stop("-TERM");
}

#[test]
fn without_a_flag_the_data_is_where_the_platform_keeps_it() {
    let home = tempfile::tempdir().unwrap();
    let mut init = onionskin();
    init.env("HOME", home.path()).env("XDG_DATA_HOME", home.path().join("share")).arg("init");
    run(&mut init, b"").good();
    assert!(home.path().join("share/onionskin/vault").exists());
    let ran = run(onionskin().env("HOME", home.path()).env("XDG_DATA_HOME", "").arg("address"), b"");
    ran.bad(78, &["no identity"]);
    let mut address = onionskin();
    address.env("XDG_DATA_HOME", home.path().join("share")).env("ONIONSKIN_DATA_DIR", "").arg("address");
    run(&mut address, b"").good();
}

#[test]
fn a_name_that_cannot_be_is_refused_with_an_example() {
    let house = House::empty();
    for name in ["postmaster", "a b", "ann@x", "", "a+b"] {
        house.run(&["init", "--name", name]).bad(64, &["--name ann"]);
    }
    assert!(!house.data.exists());
    let (house, _) = House::of("ann");
    house.run(&["up", "--name", "bob", "--network", "sim:nowhere"]).bad(64, &["--name", "ann"]);
}

#[test]
fn help_names_every_command_and_wrong_usage_is_64() {
    let help = run(onionskin().arg("--help"), b"").good();
    for command in
        ["up", "init", "status", "address", "credentials", "send", "sendmail", "inbox", "read", "queue"]
    {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
        let own = run(onionskin().args([command, "--help"]), b"").good();
        assert!(own.contains("Usage: onionskin"), "{own}");
    }
    for args in
        [&[][..], &["nonsense"], &["read"], &["read", "x"], &["send"], &["up", "--imap-port", "70000"]]
    {
        assert_eq!(run(onionskin().args(args), b"").code, Some(64), "{args:?}");
    }
    assert!(run(onionskin().arg("--version"), b"").good().starts_with("onionskin "));
}

#[test]
fn completion_scripts_parse() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(onionskin().args(["completions", shell]), b"").good();
        assert!(script.contains("credentials") && script.contains("imap-port"), "{shell}");
        let there = Command::new(shell).args(["-c", ":"]).stderr(Stdio::null()).status();
        // bash is everywhere that the tests run; the others where somebody uses them.
        assert!(shell != "bash" || there.is_ok());
        if there.is_ok() {
            run(Command::new(shell).arg("-n"), script.as_bytes()).good();
        }
    }
}

#[test]
fn a_command_waits_for_the_one_that_has_the_store() {
    let (house, address) = House::of("ann");
    let began = Instant::now();
    let ran: Vec<_> = std::thread::scope(|scope| {
        let send = |_| scope.spawn(|| house.run(&["send", &address, "-m", "x"]));
        let running: Vec<_> = (0..4).map(send).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for one in ran {
        one.good();
    }
    assert!(began.elapsed() < DEADLINE);
    assert_eq!(house.run(&["inbox", "--json"]).json().as_array().map(Vec::len), Some(4));
}

#[test]
fn a_network_that_is_not_there_is_told_while_the_node_stays_up() {
    let (house, _) = House::of("ann");
    let nowhere = format!("sim:{}", house.root.path().join("nobody").display());
    let ports = ["--imap-port", "0", "--smtp-port", "0"];
    let mut command = house.command(&["up", "--network", &nowhere]);
    command.args(ports);
    let mut node = Node::start(command);
    node.read_until("Tor ");
    let identity = house.wait(&["status", "--json"], |status| status["running"] == true);
    assert_eq!(identity["identities"][0]["reachable"], false);
    let (took, _) = node.stop("-TERM");
    assert!(took < Duration::from_secs(4), "it took {took:?}");
}
