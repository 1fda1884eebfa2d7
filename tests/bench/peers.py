"""The servers that are measured: our node, and Postfix, OpenSMTPD, Exim and Dovecot as Debian ships them.

The packages are unpacked, not installed (`scripts/setup --unpack`). Each peer runs in a mount and process namespace of
its own in which the unpacked files lie over /usr, a small /etc of ours over /etc, and /run, /var/lib, /var/log,
/var/mail and /var/spool are folders of the run; so its compiled-in paths hold, and nothing of the machine changes.
That needs root. Settings are Debian's but for what is written here.
"""
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import imap_load
import nodes
from gauge import Gauge

OVER = ("var/lib", "var/log", "var/mail", "var/spool", "run")
USERS = {"postfix": 9101, "postdrop": 9102, "Debian-exim": 9103, "opensmtpd": 9104, "opensmtpq": 9105, "dovecot": 9106,
         "dovenull": 9107, "bench": 9108}
LETTER_BYTES_MAX = 70_000_000
START_SECS = 30


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def greeted(port, seconds):
    """Waits until the port greets; gives the moment."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), 2) as stream:
                stream.settimeout(5)
                if stream.recv(10):
                    return time.monotonic()
        except OSError:
            pass
        time.sleep(0.003)
    raise nodes.Failed(f"nothing greets on port {port} after {seconds} s")


class Server:
    """A server with a folder of its own. `ports` are those that must greet before it counts as started."""

    smtp = imap = auth = None
    sender, recipient = "ann@bench.example", "bench@bench.example"

    def __init__(self, name, work):
        self.name, self.work = name, os.path.join(work, name.replace(" ", "-"))
        os.makedirs(self.work)
        self.process = self.gauge = None

    @property
    def ports(self):
        return [port for port in (self.smtp, self.imap) if port]

    def start(self):
        """Starts it; gives the seconds until every port greeted."""
        self.gauge = Gauge(self.name.replace(" ", "-"))
        begun = time.monotonic()
        with open(os.path.join(self.work, "output"), "ab") as output:
            self.process = subprocess.Popen([*self.gauge.wrapper(), *self.command()], stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=output)
        self.gauge.pid = self.process.pid
        try:
            took = max(greeted(port, START_SECS) for port in self.ports) - begun
        except nodes.Failed:
            with open(os.path.join(self.work, "output"), errors="replace") as output:
                said = output.read()[-800:]
            raise nodes.Failed(f"{self.name} did not start: {said}")
        self.settle()
        return took

    def settle(self):
        """What is to be done once it runs."""

    def kept(self):
        """How many letters are where a reader finds them, or None if the server does not say."""

    def stop(self):
        """Ends it with all its processes."""
        if not self.process:
            return
        if self.polite:
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                pass
        until = time.monotonic() + 10
        # The first process of a namespace takes all others with it.
        while (left := self.gauge.pids()) and time.monotonic() < until:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.poll()
            time.sleep(0.02)
        self.process.wait()
        self.gauge.remove()
        self.process = None

    polite = False


class Ours(Server):
    """A node on a memory network. Letters go to the own address: what is accepted is in INBOX."""

    does = ("250 after one commit: encrypted, in Sent and in INBOX, shown by IMAP; three fsyncs, shared by all "
            "letters that wait")
    polite = True

    def __init__(self, work, binary, hub):
        super().__init__("onionskin", work)
        self.binary, self.data = binary, os.path.join(self.work, "data")
        self.network = os.path.join(self.work, "hub")
        self.hub = subprocess.Popen([hub, self.network], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.hub.stdout.readline()
        self.run("init", "--name", "ann", "--no-passphrase")
        minted = json.loads(self.run("credentials", "--json", "--label", "bench"))
        self.auth = (minted["user"], minted["password"])
        self.sender = self.recipient = json.loads(self.run("address", "--json"))["address"]
        self.smtp, self.imap = free_port(), free_port()

    def run(self, *words):
        done = subprocess.run([self.binary, "--data-dir", self.data, *words], capture_output=True, timeout=60)
        if done.returncode != 0:
            raise nodes.Failed(f"onionskin {words[0]}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def kept(self):
        connection = imap_load.Connection(self, "INBOX")
        connection.close()
        return connection.exists

    def command(self):
        return [self.binary, "--data-dir", self.data, "up", "--network", f"sim:{self.network}", "--imap-port",
                str(self.imap), "--smtp-port", str(self.smtp)]

    def end(self):
        self.stop()
        self.hub.kill()
        self.hub.wait()


class Peer(Server):
    """A server out of Debian's packages, in namespaces."""

    packages = ()

    def __init__(self, name, work, tools):
        super().__init__(name, work)
        self.roots = [os.path.join(tools, package) for package in self.packages]
        for folder in ("etc", "usr", *OVER):
            os.makedirs(os.path.join(self.work, folder))
        for root in self.roots:
            if os.path.isdir(os.path.join(root, "etc")):
                shutil.copytree(os.path.join(root, "etc"), self.at("etc"), dirs_exist_ok=True, symlinks=True)
        self.accounts()
        self.configure()

    def at(self, *path):
        return os.path.join(self.work, *path)

    def put(self, path, text):
        os.makedirs(os.path.dirname(self.at(path)), exist_ok=True)
        with open(self.at(path), "w") as file:
            file.write(text)

    def folder(self, path, user="root", group=None, mode=0o755):
        """Gives a file, or a folder that is made, to a user."""
        if not os.path.exists(self.at(path)):
            os.makedirs(self.at(path))
        os.chown(self.at(path), USERS.get(user, 0), USERS.get(group or user, 0))
        os.chmod(self.at(path), mode)

    def accounts(self):
        passwd = "".join(f"{name}:x:{uid}:{uid}::/:/bin/false\n" for name, uid in USERS.items())
        group = "".join(f"{name}:x:{uid}:\n" for name, uid in USERS.items())
        self.put("etc/passwd", "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n" + passwd)
        self.put("etc/group", "root:x:0:\nmail:x:8:\nnogroup:x:65534:\n" + group)
        self.put("etc/mailname", "bench.example\n")
        self.put("etc/hosts", "127.0.0.1 localhost bench.example\n")

    def command(self):
        return self.inside(self.program)

    def inside(self, program):
        usr = [self.at("usr")] + [os.path.join(root, "usr") for root in self.roots]
        lib = [os.path.join(root, "lib") for root in self.roots if glob.glob(os.path.join(root, "lib", "*"))]
        script = f"set -e; mount -t overlay overlay -o lowerdir={':'.join(usr)}:/usr /usr\n"
        if lib:
            script += f"mount -t overlay overlay -o lowerdir={':'.join(lib)}:/usr/lib /usr/lib\n"
        script += f"mount -t overlay overlay -o lowerdir={self.at('etc')}:/etc /etc\n"
        script += "".join(f"mount --bind {self.at(folder)} /{folder}\n" for folder in OVER)
        # A syslog of the machine must not be filled.
        script += 'if [ -e /dev/log ]; then mount --bind /dev/null "$(readlink -f /dev/log)" || :; fi\nexec "$@"'
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", script, "sh",
                *program]

    def end(self):
        self.stop()


class Postfix(Peer):
    packages = ("postfix",)
    does = "250 after one fsync of the queue file; then its queue manager and the discard transport see to it"
    program = ("/usr/sbin/postfix", "start-fg")

    def __init__(self, work, tools):
        super().__init__("Postfix", work, tools)

    def configure(self):
        self.smtp = free_port()
        share = os.path.join(self.roots[0], "usr/share/postfix")
        with open(os.path.join(share, "main.cf.debian")) as file:
            main = file.read()
        self.put("etc/postfix/main.cf", main + f"""
myhostname = bench.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination = bench.example
local_recipient_maps =
local_transport = discard:
alias_maps =
message_size_limit = {LETTER_BYTES_MAX}
maillog_file = /var/log/mail.log
""")
        shutil.copy(os.path.join(share, "dynamicmaps.cf"), self.at("etc/postfix"))
        with open(os.path.join(share, "master.cf.dist")) as file:
            lines = file.read().splitlines()
        master = []
        for line in lines:
            words = line.split()
            if len(words) >= 8 and not line.startswith(("#", " ")):
                if words[:2] == ["smtp", "inet"]:
                    words[0] = f"127.0.0.1:{self.smtp}"
                elif words[1] == "inet":
                    continue
                words[4] = "n"
                line = " ".join(words)
            master.append(line)
        self.put("etc/postfix/master.cf", "\n".join(master) + "\n")
        self.folder("var/lib/postfix", "postfix")
        self.folder("var/spool/postfix")


class OpenSmtpd(Peer):
    packages = ("opensmtpd",)
    does = "250 with the letter written to its queue, never synced (not crash-safe); sending on is paused"
    program = ("/usr/sbin/smtpd", "-d")

    def __init__(self, work, tools):
        super().__init__("OpenSMTPD", work, tools)

    def configure(self):
        self.smtp = free_port()
        self.put("etc/smtpd.conf", f"""listen on 127.0.0.1 port {self.smtp} hostname bench.example
smtp max-message-size "{LETTER_BYTES_MAX}"
smtp limit max-mails 10000
action "later" relay host smtp://127.0.0.1:1
match from local for any action "later"
""")
        # The package's installation would give the program its group.
        shutil.copytree(os.path.join(self.roots[0], "usr/sbin"), self.at("usr/sbin"))
        self.folder("usr/sbin/smtpctl", "root", "opensmtpq", 0o2755)
        self.folder("var/lib/opensmtpd/empty", mode=0o711)
        self.folder("run/opensmtpd")
        self.folder("var/spool/smtpd", mode=0o711)

    def settle(self):
        inner = [pid for pid in self.gauge.pids() if pid != self.process.pid]
        for pid in inner:
            done = subprocess.run(["nsenter", "--target", str(pid), "--mount", "--pid", "/usr/sbin/smtpctl", "pause",
                                   "mta"], capture_output=True)
            if done.returncode == 0:
                return
        raise nodes.Failed(f"smtpctl pause mta: {done.stderr.decode().strip()}")


class Exim(Peer):
    packages = ("exim4-daemon-light",)
    does = "250 after its queue files are synced; queue_only: nothing is delivered"
    program = ("/usr/sbin/exim4", "-bdf", "-C", "/etc/exim4/bench.conf")

    def __init__(self, work, tools):
        super().__init__("Exim", work, tools)

    def configure(self):
        self.smtp = free_port()
        self.put("etc/exim4/bench.conf", f"""primary_hostname = bench.example
local_interfaces = 127.0.0.1
daemon_smtp_ports = {self.smtp}
domainlist local_domains = bench.example
acl_smtp_rcpt = take
queue_only
tls_advertise_hosts =
message_size_limit = {LETTER_BYTES_MAX}
log_file_path = /var/log/exim4/%slog
begin acl
take:
  accept
begin routers
all:
  driver = accept
  transport = keep
begin transports
keep:
  driver = appendfile
  file = /dev/null
  user = Debian-exim
""")
        self.folder("var/spool/exim4", "Debian-exim")
        self.folder("var/log/exim4", "Debian-exim")


class Dovecot(Peer):
    packages = ("dovecot-imapd", "dovecot-core")
    program = ("/usr/sbin/dovecot", "-F")
    auth = ("bench", "bench")

    def __init__(self, work, tools, kind):
        self.kind = kind
        super().__init__(f"Dovecot {kind}", work, tools)

    def configure(self):
        self.imap = free_port()
        self.put("etc/dovecot/dovecot.conf", f"""protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
log_path = /var/log/dovecot.log
mail_location = {self.kind}:/var/mail/%u
service imap-login {{
  inet_listener imap {{
    port = {self.imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
passdb {{
  driver = static
  args = password=bench
}}
userdb {{
  driver = static
  args = uid=bench gid=bench home=/var/mail/%u
}}
""")
        self.folder("var/mail", "bench")
        self.folder("var/lib/dovecot")
        self.folder("run/dovecot")


def packages():
    """What has to be unpacked."""
    return sorted({package for kind in (Postfix, OpenSmtpd, Exim, Dovecot) for package in kind.packages})
