"""A room of the test's own: the machine as it is, with Debian's mail servers laid over it, seen by this process alone.

Promises: a mount, process and network namespace hold everything. The servers find themselves where Debian installs
them (/usr/sbin, /etc/postfix, /var/spool), run as users of their own, and the machine's files, users, mail queue and
resolver are neither read by them nor changed; when the first process of the room ends, all others and every mount end
with it. Needs root: the servers change to users of their own, which a mapped root cannot. Only the standard library
is used.
"""
import grp
import os
import pwd
import subprocess
import tempfile

import nodes

INSIDE = "ONIONSKIN_INTEROP_ROOM"  # set, by `enter`, for the room's first process
LAYERS = "ONIONSKIN_INTEROP_LAYERS"
PACKAGES = ["postfix", "opensmtpd"]  # as scripts/setup has unpacked them
# name, group, home: what the packages' own scripts would have made, and a person for each server.
USERS = [("postfix", "postfix", "/var/spool/postfix"), ("opensmtpd", "opensmtpd", "/var/lib/opensmtpd/empty"),
         ("opensmtpq", "opensmtpq", "/var/lib/opensmtpd/empty"), ("erin", "erin", "/home-interop/erin"),
         ("frank", "frank", "/home-interop/frank")]
GROUPS = ["postdrop", *(group for _, group, _ in USERS)]


def enter(command):
    """Runs a command as the room's first process; gives its exit status."""
    if os.geteuid() != 0:
        raise nodes.Failed("Postfix and OpenSMTPD change to users of their own, so this needs root: run it as root")
    # The namespace of processes is what ends every daemon, however this script ends.
    unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    layers = tempfile.mkdtemp(prefix="onionskin-room-")  # outside the room it stays empty
    try:
        return subprocess.run([*unshare, *command], env=os.environ | {INSIDE: "yes", LAYERS: layers}).returncode
    finally:
        os.rmdir(layers)


def furnish(tools):
    """Lays the packages over the machine; to be called by the room's first process."""
    layers = os.environ[LAYERS]
    mount("-t", "tmpfs", "none", layers)
    below = [os.path.join(tools, package, "usr") for package in PACKAGES]
    for folder in below:
        if not os.path.isdir(folder):
            raise nodes.Failed(f"{folder} is missing: run scripts/setup first")
    for top, lower in ("usr", ":".join([*below, "/usr"])), ("etc", "/etc"), ("var", "/var"):
        above, work = os.path.join(layers, f"{top}-above"), os.path.join(layers, f"{top}-work")
        os.makedirs(above)
        os.makedirs(work)
        mount("-t", "overlay", "onionskin", "-o", f"lowerdir={lower},upperdir={above},workdir={work}", f"/{top}")
    # Whatever a mail server of the machine's keeps must be out of reach.
    for folder in ("/run", "/etc/postfix", "/var/spool", "/var/mail", "/var/lib/postfix", "/var/lib/opensmtpd"):
        os.makedirs(folder, exist_ok=True)
        mount("-t", "tmpfs", "-o", "mode=755", "none", folder)
    os.makedirs("/run/lock")
    homes = os.path.join(layers, "home")
    os.makedirs(homes)
    add_users(homes)
    subprocess.run(["cp", "-a", os.path.join(tools, "postfix", "etc", "postfix", "."), "/etc/postfix/"], check=True)
    # What the packages' own scripts do after unpacking.
    for program, group in ("postdrop", "postdrop"), ("postqueue", "postdrop"), ("smtpctl", "opensmtpq"):
        os.chown(f"/usr/sbin/{program}", 0, grp.getgrnam(group).gr_gid)
        os.chmod(f"/usr/sbin/{program}", 0o2555)
    write("/etc/mailname", "localhost\n")
    # Nothing answers there: whoever asks for a name has gone the wrong way.
    write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    write("/etc/hosts", "127.0.0.1 localhost\n")
    write("/etc/aliases", "postmaster: root\n")


def add_users(homes):
    """Adds users and groups to the room's own /etc/passwd and /etc/group."""
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {entry.gr_gid for entry in grp.getgrall()}
    free = (number for number in range(61000, 64000) if number not in taken)
    known_users = {entry.pw_name for entry in pwd.getpwall()}
    known_groups = {entry.gr_name for entry in grp.getgrall()}
    with open("/etc/group", "a") as groups:
        groups.writelines(f"{name}:x:{next(free)}:\n" for name in GROUPS if name not in known_groups)
    with open("/etc/passwd", "a") as users:
        for name, group, home in USERS:
            home = home.replace("/home-interop", homes)
            if name not in known_users:
                users.write(f"{name}:x:{next(free)}:{grp.getgrnam(group).gr_gid}::{home}:/usr/sbin/nologin\n")
    os.chmod(os.path.dirname(homes), 0o755)
    for name in ("erin", "frank"):
        os.makedirs(home_of(name), mode=0o700)
        os.chown(home_of(name), pwd.getpwnam(name).pw_uid, pwd.getpwnam(name).pw_gid)


def home_of(name):
    return pwd.getpwnam(name).pw_dir


def write(path, text, mode=0o644):
    """Writes a file afresh; what is there may be a link that leads elsewhere."""
    if os.path.lexists(path):
        os.unlink(path)
    with open(path, "w") as out:
        out.write(text)
    os.chmod(path, mode)


def mount(*arguments):
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise nodes.Failed(f"mount {' '.join(arguments)}: {done.stderr.strip()}")
