"""Brings letters to an SMTP server over many connections at once and says how long each took to be accepted.

One thread, no pipelining: what a plain mail program does. All connections are opened, greeted and logged in first,
so that the figures are those of letters alone; who is not greeted within `GREET_SECS` counts as unserved. A letter's
time runs from the first byte of MAIL FROM to the final 250.
"""
import base64
import selectors
import socket
import time

import corpus
import gauge

GREET_SECS = 5
STALL_SECS = 20


class Client:
    """One connection: a line in, the next line out."""

    def __init__(self, load):
        self.load, self.inbuf, self.out, self.state, self.began, self.letter = load, b"", b"", "greeting", 0, b""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", load.port))
        load.selector.register(self.socket, selectors.EVENT_READ, self)

    def say(self, data):
        self.out = memoryview(bytes(self.out) + data)
        self.flush()

    def flush(self):
        try:
            self.out = self.out[self.socket.send(self.out):]
        except BlockingIOError:
            pass
        except OSError as error:
            return self.fail(str(error))
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if len(self.out) else 0)
        self.load.selector.modify(self.socket, events, self)

    def fail(self, why):
        if self.state != "gone":
            self.load.errors.append(why)
            self.leave()

    def leave(self):
        self.state = "gone"
        self.load.selector.unregister(self.socket)
        self.socket.close()

    def ready(self, events):
        if events & selectors.EVENT_WRITE:
            self.flush()
        if self.state == "gone" or not events & selectors.EVENT_READ:
            return
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            return self.fail(str(error))
        if not data:
            return self.fail(f"the server closed in {self.state}")
        self.inbuf += data
        while self.state != "gone" and b"\n" in self.inbuf:
            line, self.inbuf = self.inbuf.split(b"\n", 1)
            if line[3:4] != b"-":
                self.reply(line)

    def reply(self, line):
        wanted = b"3" if self.state == "data" else b"2"
        if line[:1] != wanted:
            return self.fail(f"{self.state}: {line.decode(errors='replace').strip()}")
        load = self.load
        if self.state == "greeting":
            self.state = "ehlo"
            self.say(b"EHLO bench.example\r\n")
        elif self.state == "ehlo" and load.auth:
            self.state = "auth"
            self.say(b"AUTH PLAIN " + base64.b64encode("\0".join(("", *load.auth)).encode()) + b"\r\n")
        elif self.state in ("ehlo", "auth"):
            self.state = "idle"
        elif self.state == "mail":
            self.state = "rcpt"
            self.say(b"RCPT TO:<%s>\r\n" % load.recipient.encode())
        elif self.state == "rcpt":
            self.state = "data"
            self.say(b"DATA\r\n")
        elif self.state == "data":
            self.state = "text"
            self.say(self.letter)
        elif self.state == "text":
            now = time.perf_counter()
            load.times.append(now - self.began)
            load.last = now
            self.state = "idle"
            self.next_letter()

    def next_letter(self):
        load = self.load
        if load.begun >= load.count or time.perf_counter() > load.deadline:
            return
        load.begun += 1
        letter = corpus.filler(load.size, load.sender, load.recipient, load.begun)
        self.letter = letter.replace(b"\r\n.", b"\r\n..") + b".\r\n"
        self.state, self.began = "mail", time.perf_counter()
        self.say(b"MAIL FROM:<%s>\r\n" % load.sender.encode())


class Load:
    """One run against one server. `target` names port, sender, recipient, and auth (user, password) or None."""

    def __init__(self, target, clients, count, size, seconds):
        self.port, self.sender, self.recipient, self.auth = target.smtp, target.sender, target.recipient, target.auth
        self.clients, self.count, self.size, self.seconds = clients, count, size, seconds
        self.selector, self.times, self.errors, self.begun, self.last = selectors.DefaultSelector(), [], [], 0, 0
        self.deadline = 0

    def turn(self, pause):
        for key, events in self.selector.select(pause):
            key.data.ready(events)

    def run(self, meter):
        """The figures of one run; `meter` is the server's Gauge."""
        everyone = [Client(self) for _ in range(self.clients)]
        until = time.monotonic() + GREET_SECS
        while any(client.state not in ("idle", "gone") for client in everyone) and time.monotonic() < until:
            self.turn(0.2)
        served = [client for client in everyone if client.state == "idle"]
        for client in everyone:
            if client.state not in ("idle", "gone"):
                client.leave()
        memory = peak = meter.memory()
        cpu, own, machine, begun = meter.cpu(), time.process_time(), gauge.machine_cpu(), time.perf_counter()
        self.deadline = begun + self.seconds
        for client in served:
            client.next_letter()
        looked = moved = time.monotonic()
        done = 0
        while any(client.state not in ("idle", "gone") for client in served):
            self.turn(0.5)
            now = time.monotonic()
            if len(self.times) > done:
                done, moved = len(self.times), now
            if now - moved > STALL_SECS:
                self.errors.append("no letter was accepted for a while")
                break
            # Looking costs: seldom.
            if now - looked > 2:
                looked, peak = now, max(peak, meter.memory())
        took = max(1e-9, self.last - begun)
        cpu, own, machine = meter.cpu() - cpu, time.process_time() - own, gauge.machine_cpu() - machine
        peak = max(peak, meter.memory())
        for client in everyone:
            if client.state != "gone":
                client.leave()
        times = sorted(self.times)
        if not times:
            return {"letters": 0, "unserved": self.clients - len(served), "errors": self.errors[:3]}
        pick = lambda share: times[min(len(times) - 1, int(len(times) * share))] * 1e3
        return {"letters": len(times), "rate": len(times) / took, "p50_ms": pick(0.5), "p99_ms": pick(0.99),
                "mb_s": len(times) * self.size / took / 1e6, "cpu_1000": cpu * 1000 / len(times),
                "growth_mb": (peak - memory) / 1e6, "unserved": self.clients - len(served),
                "others": max(0.0, machine - cpu - own) / took, "errors": self.errors[:3]}
