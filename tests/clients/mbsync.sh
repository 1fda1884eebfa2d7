#!/bin/sh
# Two mail folders of mbsync (isync) meet through the IMAP face: mbsync.sh HOST PORT USER PASSWORD.
# What one files, flags, moves and deletes must reach the other. Ends 0 if all did.
set -eu
host=$1 port=$2 user=$3 password=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

for side in one two; do
    mkdir -p "$work/$side"
    cat > "$work/$side.rc" <<RC
IMAPAccount node
Host $host
Port $port
User $user
Pass $password
SSLType None
AuthMechs ${AUTH_MECHS:-LOGIN}

IMAPStore far
Account node

MaildirStore near
Path $work/$side/
Inbox $work/$side/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
RC
done
sync() {
    mbsync -q -c "$work/$1.rc" all 2> "$work/said" || { cat "$work/said" >&2; fail "mbsync of $1 says no"; }
}
letters() { find "$work/$1/$2/cur" "$work/$1/$2/new" -type f 2>/dev/null | wc -l; }
letter() { printf 'From: a@b\nTo: c@d\nSubject: %s\nMessage-ID: <%s@b>\n\nText of %s.\n' "$1" "$1" "$1"; }

sync one
base=$(letters one INBOX)
for n in $(seq 1 20); do letter "mbsync$$-$n" > "$work/one/INBOX/new/$n.x"; done
mkdir -p "$work/one/P$$/cur" "$work/one/P$$/new" "$work/one/P$$/tmp"
letter filed > "$work/one/P$$/cur/1.x:2,FS"
sync one
sync two
[ "$(letters two INBOX)" = $((base + 20)) ] || fail "two has $(letters two INBOX) letters, not $((base + 20))"
[ "$(letters two P$$)" = 1 ] || fail "the new mailbox did not arrive"
ls "$work/two/P$$/cur" | grep -q ':2,FS$' || fail "flags did not arrive: $(ls "$work/two/P$$/cur")"
grep -rq "Text of mbsync$$-7\." "$work/two/INBOX" || fail "the text did not arrive"

for file in $(grep -rl "Subject: mbsync$$-[1-5]\$" "$work/two/INBOX"); do rm "$file"; done
for file in $(grep -rl "Subject: mbsync$$-6\$" "$work/two/INBOX"); do mv "$file" "$work/two/INBOX/cur/six:2,RS"; done
sync two
sync one
[ "$(letters one INBOX)" = $((base + 15)) ] || fail "deletion did not come back: $(letters one INBOX)"
ls "$work/one/INBOX/cur" | grep -q ':2,RS$' || fail "flags did not come back"
before=$(find "$work" -type f | sort | md5sum)
sync one
sync two
sync one
[ "$before" = "$(find "$work" -type f | sort | md5sum)" ] || fail "a sync of nothing changed something"
for file in $(grep -rl "Subject: mbsync$$-" "$work/one/INBOX"); do rm "$file"; done
sync one
echo "all ok"
