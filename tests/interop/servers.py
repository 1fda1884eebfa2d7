"""The stock side: C tor with an onion for each mail server, Debian's Postfix, and Debian's OpenSMTPD.

The settings below are those of docs/guide/stock-servers.md; what differs is said beside it. Promises: `Tor.start`
gives both onions; each server's `send` hands a letter to its own sendmail, `letters` reads its person's Maildir.
Runs inside the room (room.py). Only the standard library is used.
"""
import glob
import os
import pwd
import shutil
import socket
import subprocess

import nodes
import room
from world import StockTor


def checked(*command, **options):
    done = subprocess.run(command, capture_output=True, timeout=120, **options)
    if done.returncode != 0:
        raise nodes.Failed(f"{command[0]} ended {done.returncode}: {(done.stderr or done.stdout).decode().strip()}")
    return done.stdout


class Tor(StockTor):
    """C tor as a mail server's neighbour: a SOCKS port, and an onion for each server."""

    PORT = 9050

    def __init__(self, folder, ports):
        self.folder, self.ports, self.process, self.way = folder, ports, None, None
        os.makedirs(folder, mode=0o700)

    def start(self):
        """Starts it; gives the onions' hosts, {name: host}."""
        with open(os.path.join(os.environ["ONIONSKIN_TESTNET_DIR"], "relay0", "torrc")) as relay:
            authorities = "".join(line for line in relay if line.startswith("DirAuthority "))
        services = "".join(f"HiddenServiceDir {self.folder}/{name}\nHiddenServicePort 25 127.0.0.1:{port}\n"
                           for name, port in self.ports.items())
        # The first lines are the private network's; a real one needs only the services. Tor tries for two minutes to
        # reach an onion that is away; here it may give up sooner.
        room.write(f"{self.folder}/torrc",
                   f"TestingTorNetwork 1\nPathsNeededToBuildCircuits 0.67\nShutdownWaitLength 0\n{authorities}"
                   f"DataDirectory {self.folder}/data\nLog notice file {self.folder}/log\n"
                   f"SocksPort 127.0.0.1:{self.PORT}\nSocksTimeout 10\n{services}")
        self.process = subprocess.Popen(["tor", "-f", f"{self.folder}/torrc", "--hush"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL)
        hosts = {}
        for name in self.ports:
            path = f"{self.folder}/{name}/hostname"
            nodes.wait_until(f"{path} is there (see {self.folder}/log)", 30, lambda path=path: os.path.exists(path))
            with open(path) as text:
                hosts[name] = text.read().strip()
        return hosts

    def open_way(self, port, host):
        """A port on loopback that leads to port 25 of an onion: mail servers speak no SOCKS."""
        self.way = subprocess.Popen(["socat", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork",
                                     f"SOCKS4A:127.0.0.1:{host}:25,socksport={self.PORT}"], stdin=subprocess.DEVNULL)

    def stop(self):
        for process in self.process, self.way:
            if process:
                process.terminate()
                process.wait(timeout=30)


WAY = 2601  # where on loopback the node is reached


def start(tor, stock, correspondent):
    """Starts Tor, tells each server its onion, and starts them; they will write to the host `correspondent`."""
    hosts = tor.start()
    tor.open_way(WAY, correspondent)
    for server in stock:
        server.host, server.tor = hosts[server.name], tor
        server.configure(correspondent)
        server.start()


class Server:
    """What both mail servers have: a host, a person with a Maildir, and a log."""

    def __init__(self, person, port, log):
        self.person, self.port, self.log = person, port, log
        self.host = self.tor = None

    @property
    def address(self):
        return f"{self.person}@{self.host}"

    def letters(self):
        """Every letter in the person's Maildir, as bytes with the line ends of mail."""
        found = []
        for path in sorted(glob.glob(f"{room.home_of(self.person)}/Maildir/*/*")):
            if os.path.basename(os.path.dirname(path)) in ("new", "cur"):
                with open(path, "rb") as letter:
                    found.append(letter.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        return found

    def send(self, recipients, letter):
        """Hands a letter to the server's own sendmail, as its person."""
        checked(*self.sendmail, "-f", self.address, "-i", *recipients, input=letter.replace(b"\r\n", b"\n"),
                user=pwd.getpwnam(self.person).pw_uid, group=pwd.getpwnam(self.person).pw_gid, extra_groups=[],
                cwd="/", env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


class Postfix(Server):
    """Debian's Postfix, with the main.cf and master.cf it is shipped with, and what the guide adds."""

    name, sendmail = "Postfix", ["/usr/sbin/sendmail"]

    def version(self):
        return f"Postfix {checked('/usr/sbin/postconf', '-h', 'mail_version').decode().strip()}"

    def configure(self, correspondent):
        share, etc = "/usr/share/postfix", "/etc/postfix"
        for source, target in ("main.cf.debian", "main.cf"), ("master.cf.dist", "master.cf"), ("dynamicmaps.cf",) * 2:
            shutil.copy(f"{share}/{source}", f"{etc}/{target}")
        for folder in "/var/spool/postfix", "/var/lib/postfix":
            os.makedirs(folder, exist_ok=True)
        os.chown("/var/lib/postfix", pwd.getpwnam("postfix").pw_uid, pwd.getpwnam("postfix").pw_gid)
        room.write(f"{etc}/transport", f"{correspondent} smtp:[127.0.0.1]:{WAY}\n")
        postconf = "/usr/sbin/postconf"
        checked(postconf, f"myhostname={self.host}", "myorigin=$myhostname", "mydestination=$myhostname, localhost",
                "transport_maps=texthash:/etc/postfix/transport", "home_mailbox=Maildir/",
                "alias_maps=hash:/etc/aliases", "inet_interfaces=loopback-only", f"maillog_file={self.log}")
        door = f"127.0.0.1:{self.port}/inet"
        checked(postconf, "-M", f"{door}={door.replace('/', ' ')} n - y - - smtpd")
        checked(postconf, "-P", f"{door}/mynetworks=", f"{door}/smtpd_relay_restrictions=reject_unauth_destination")
        checked("/usr/sbin/postalias", "/etc/aliases")
        checked("/usr/lib/postfix/configure-instance.sh", "-")

    def start(self):
        checked("/usr/sbin/postfix", "start")

    def stop(self):
        subprocess.run(["/usr/sbin/postfix", "stop"], capture_output=True)

    def waiting(self):
        """How many letters were tried in vain and wait."""
        return checked("/usr/sbin/postqueue", "-j").decode().count('"queue_name": "deferred"')

    def retry(self):
        checked("/usr/sbin/postqueue", "-f")


class OpenSmtpd(Server):
    """Debian's OpenSMTPD, with the settings of the guide."""

    name, sendmail = "OpenSMTPD", ["/usr/libexec/opensmtpd/sendmail"]
    process = None

    def version(self):
        done = subprocess.run(["/usr/sbin/smtpd", "-h"], capture_output=True, text=True)
        return (done.stdout + done.stderr).splitlines()[0].removeprefix("version: ")

    def configure(self, correspondent):
        os.makedirs("/var/lib/opensmtpd/empty", mode=0o755, exist_ok=True)
        room.write("/etc/onions", f"{correspondent} smtp://127.0.0.1:{WAY}\n")
        os.symlink("/usr/sbin/smtpctl", self.sendmail[0])  # /usr/sbin/sendmail is Postfix's here
        room.write("/etc/smtpd.conf", f"""table aliases file:/etc/aliases
table onions file:/etc/onions
listen on localhost port 2525
listen on 127.0.0.1 port {self.port} hostname "{self.host}" tag onion
action "local" maildir "~/Maildir" alias <aliases>
action "onion" relay domain <onions> helo "{self.host}"
match tag onion from any for domain "{self.host}" action "local"
match tag onion from any for any reject
match from local for domain "{self.host}" action "local"
match from local for domain "*.onion" action "onion"
""")

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(["/usr/sbin/smtpd", "-d"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd="/")
        nodes.wait_until(f"OpenSMTPD comes up (see {self.log})", 30, self._is_up)

    def waiting(self):
        """How many letters were tried in vain and wait."""
        rows = [row.split("|") for row in checked("/usr/sbin/smtpctl", "show", "queue").decode().splitlines()]
        return sum(1 for row in rows if row[-1] not in ("", "-") and int(row[10] or 0) > 0)

    def retry(self):
        checked("/usr/sbin/smtpctl", "schedule", "all")

    def _is_up(self):
        if self.process.poll() is not None:
            raise nodes.Failed(f"OpenSMTPD ended {self.process.returncode}; see {self.log}")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=10).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)
