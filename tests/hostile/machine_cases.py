"""The machine itself is hostile: a full disk, a disk that cannot be written, bits that turn over, a second instance, a
clock that is years off. Each case has nodes of its own.

What needs a file system of its own runs this file again as `machine_cases.py CASE BINARY HUB-SOCKET DIRECTORY` in a
user and mount namespace of its own (`unshare -rm`), which needs no rights.
"""
import os
import random
import subprocess
import sys

if __name__ == "__main__":
    HERE = os.path.dirname(os.path.abspath(__file__))
    sys.path[:0] = [HERE, os.path.join(os.path.dirname(os.path.dirname(HERE)), "scripts")]
    sys.dont_write_bytecode = True
import nodes
from world import World

FULL = "the disk is full"


def node_in(name, binary, directory, hub_socket):
    os.makedirs(directory, exist_ok=True)
    node = nodes.Node(name, binary, os.path.join(directory, name), f"sim:{hub_socket}")
    node.init()
    node.start()
    nodes.wait_until(f"{name} is reachable", 20, lambda: node.status()["reachable"])
    return node


def troubles(node):
    return " | ".join(node.status()["errors"])


def refuses(node, code, *words):
    """`up` ends at once with this code and says one of these words, and what to do."""
    done = subprocess.run([node.binary, "--data-dir", node.data_dir, "up", "--network", node.network, "--imap-port", "0",
                           "--smtp-port", "0"], capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
    said = done.stderr.decode()
    assert done.returncode == code, (done.returncode, said)
    assert any(word in said for word in words), said
    return said


# In a mount namespace

def full_disk(binary, hub_socket, directory):
    """Letters come until there is no room. None that was acknowledged is lost, and room made is room."""
    os.makedirs(directory)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", directory], check=True)
    carl = node_in("carl", binary, directory, hub_socket)
    place = World(hub_socket, carl, carl)
    kept, refusals, body = [], 0, (b"z" * 76 + b"\r\n") * 6000
    for number in range(60):
        face = "onion" if number % 2 else "submission"
        subject = f"letter {number}"
        with place.talk(face) as talk:
            code, text = place.letter(talk, face, subject, body, None)
        if code == 250:
            kept.append(subject)
        else:
            assert code == 452 and "room" in text, (code, text)
            refusals += 1
    assert len(kept) > 3 and refusals > 3, (len(kept), refusals)
    assert FULL in troubles(carl), carl.status()
    with place.imap() as talk:
        talk.send(f"a APPEND INBOX {{{len(body)}}}\r\n")
        if talk.line().startswith(b"+"):
            talk.send(body + b"\r\n")
            _, tagged = talk.answer(b"a")
            assert tagged.startswith(b"NO [LIMIT]"), tagged
    check(place, kept)
    carl.stop()
    carl.start()  # it comes up on a full disk, with everything that it acknowledged
    check(place, kept)
    with place.imap() as talk:
        for mailbox in ("INBOX", "Requests", "Sent"):
            talk.ok(f"SELECT {mailbox}")
            talk.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
            talk.ok("EXPUNGE")

    def taken_again():
        with place.talk("onion") as talk:
            return place.letter(talk, "onion", "again", body, None)[0] == 250
    nodes.wait_until("there is room again", 90, taken_again, pause=0.5)
    assert FULL not in troubles(carl), carl.status()
    carl.stop()


def check(place, kept):
    """Every letter that was acknowledged is there, whole."""
    found = place.subjects("INBOX") + place.subjects("Requests")
    missing = [subject for subject in kept if subject not in found]
    assert not missing, missing
    assert len([one for one in found if one.startswith("letter")]) == len(kept), found
    for mailbox in ("INBOX", "Requests"):
        for text in place.bob.letters(mailbox):
            assert b"Subject: letter" not in text or text.endswith(b"z\r\n"), text[-100:]


def read_only_disk(binary, hub_socket, directory):
    """A node does not start on a disk that cannot be written, and says why; when it can be, all is there."""
    os.makedirs(directory)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", directory], check=True)
    carl = node_in("carl", binary, directory, hub_socket)
    place = World(hub_socket, carl, carl)
    with place.talk("onion") as talk:
        place.letter(talk, "onion", "letter 1", b"z\r\n")
    carl.stop()
    carl.log.close()
    subprocess.run(["mount", "-o", "remount,ro", directory], check=True)
    for command in (["up", "--network", carl.network, "--imap-port", "0", "--smtp-port", "0"], ["status"], ["inbox"]):
        done = subprocess.run([binary, "--data-dir", carl.data_dir, *command], capture_output=True, timeout=30,
                              stdin=subprocess.DEVNULL)
        said = done.stderr.decode().lower()
        assert done.returncode in (73, 74, 77) and "read-only" in said and "panicked" not in said, (command, done)
    subprocess.run(["mount", "-o", "remount,rw", directory], check=True)
    carl.log = open(os.path.join(directory, "carl2.log"), "ab")
    carl.start()
    check(place, ["letter 1"])
    carl.stop()


def apart(name):
    def case(binary, hub_binary, place, directory):
        done = subprocess.run(["unshare", "-rm", sys.executable, os.path.abspath(__file__), name, binary, place.hub_socket,
                               directory], capture_output=True, timeout=240)
        if done.returncode != 0:
            raise nodes.Failed((done.stdout + done.stderr).decode(errors="replace")[-1500:])
    return case


# Without

def damaged_letters(binary, hub_binary, place, directory):
    """Bits turn over in the letters of a node that is stopped: what can be read is right, the rest is refused."""
    carl = node_in("carl", binary, directory, place.hub_socket)
    own = World(place.hub_socket, carl, carl)
    written = {}
    with own.talk("onion") as talk:
        for number in range(40):
            body = os.urandom(3000).hex().encode()
            body = b"\r\n".join(body[at:at + 76] for at in range(0, len(body), 76)) + b"\r\n"
            own.letter(talk, "onion", f"letter {number}", body)
            written[f"letter {number}"] = body
    carl.stop()
    path = os.path.join(carl.data_dir, "segment-00000001")
    rng = random.Random(3)
    with open(path, "r+b") as segment:
        length = os.path.getsize(path)
        for _ in range(20):
            at = rng.randrange(length // 4, length)
            segment.seek(at)
            byte = segment.read(1)[0]
            segment.seek(at)
            segment.write(bytes([byte ^ 1 << rng.randrange(8)]))
    carl.start()
    read = refused = 0
    with own.imap("Requests") as talk:
        for uid in talk.ok("UID SEARCH ALL")[0].split()[2:]:
            lines, tagged = talk.command(b"UID FETCH " + uid + b" BODY.PEEK[]")
            if tagged.startswith(b"OK"):
                text = b"\n".join(lines)
                subject = text.split(b"Subject: ")[1].split(b"\r\n")[0].decode()
                assert subject not in written or written[subject] in text, subject
                read += 1
            else:
                assert tagged.startswith(b"NO [CORRUPTION]"), tagged
                refused += 1
    assert read > 5 and refused > 5, (read, refused)
    assert "damaged" in troubles(carl), carl.status()
    with own.talk("onion") as talk:
        own.letter(talk, "onion", "after the damage", b"x\r\n")
    with own.imap("Requests") as talk:
        assert talk.ok('UID SEARCH SUBJECT "after the damage"')[0].split()[2:], "a later letter is not found"
    carl.stop()


def damaged_database(binary, hub_binary, place, directory):
    """The database or the vault is cut or overwritten: the node does not start, and says what is wrong."""
    carl = node_in("carl", binary, directory, place.hub_socket)
    carl.stop()
    for name in ("mail.db", "vault"):
        path = os.path.join(carl.data_dir, name)
        with open(path, "rb") as file:
            whole = file.read()
        for bad in (whole[:len(whole) // 2], b"", os.urandom(len(whole)), bytes(len(whole))):
            with open(path, "wb") as file:
                file.write(bad)
            said = refused(carl)
            assert "panicked" not in said and len(said) > 30, said
        with open(path, "wb") as file:
            file.write(whole)
    carl.start()
    carl.stop()


def refused(node):
    done = subprocess.run([node.binary, "--data-dir", node.data_dir, "up", "--network", node.network, "--imap-port", "0",
                           "--smtp-port", "0"], capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
    assert done.returncode in (65, 70, 74, 77, 78), done
    return done.stderr.decode()


def second_instance(binary, hub_binary, place, directory):
    """A second node on the same directory leaves at once, and the first does not notice."""
    carl = node_in("carl", binary, directory, place.hub_socket)
    for _ in range(5):
        refuses(carl, 75, "running already")
    assert World(place.hub_socket, carl, carl).probe("onion") < 1
    assert carl.status()["reachable"]
    carl.stop()


def clock_off(days):
    def case(binary, hub_binary, place, directory):
        """Letters come and go, nothing expires, and `status` says that the clock is wrong."""
        os.makedirs(directory)
        socket = os.path.join(directory, "hub.sock")
        hub = subprocess.Popen([hub_binary, socket, "--ahead-days", str(days)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        hub.stdout.readline()
        try:
            carl, dora, absent = (node_in(name, binary, directory, socket) for name in ("carl", "dora", "absent"))
            nodes.acquaint(carl, dora)
            absent.stop()
            nodes.wait_until("status says it", 20, lambda: "clock" in troubles(carl))
            with carl.submission() as session:
                for to in (dora, absent):
                    session.sendmail(carl.address, [to.address],
                                     f"From: {carl.address}\r\nTo: {to.address}\r\nSubject: whatever the clock\r\n\r\nx\r\n")
            nodes.wait_until("the letter arrives", 30, lambda: "whatever the clock" in dora.header_values("Subject"))
            nodes.wait_until("the other letter waits", 10, lambda: carl.status()["waiting"] == 1)
            assert "whatever the clock" not in carl.header_values("Subject"), "a letter was returned"
            carl.stop()
            carl.start()
            assert carl.status()["waiting"] == 1, carl.status()
            for node in (carl, dora):
                node.stop()
        finally:
            hub.stdin.close()
            hub.wait(timeout=20)
    return case


CASES = [
    ("a disk that fills up", apart("full_disk")),
    ("a disk that cannot be written", apart("read_only_disk")),
    ("bits that turned over in letters", damaged_letters),
    ("a database and a vault that are cut, empty or noise", damaged_database),
    ("a second instance", second_instance),
    ("a clock that is ten years behind", clock_off(3650)),
    ("a clock that is ten years ahead", clock_off(-3650)),
]

if __name__ == "__main__":
    nodes.main(lambda: globals()[sys.argv[1]](*sys.argv[2:]))
