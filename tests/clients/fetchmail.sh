#!/bin/sh
# fetchmail empties INBOX through the IMAP face: fetchmail.sh HOST PORT USER PASSWORD. Ends 0 if all came, each once.
set -eu
host=$1 port=$2 user=$3 password=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

for n in 1 2 3; do
    printf 'From: a@b\r\nTo: c@d\r\nSubject: fetched %s\r\n\r\nText of %s.\r\n.\r\n..\r\n' "$n" "$n" > "$work/letter$n"
    curl -sS --user "$user:$password" -T "$work/letter$n" "imap://$host:$port/INBOX" || fail "curl cannot append"
done
# curl files what it uploads as seen: hence fetchall.
cat > "$work/rc" <<RC
poll $host protocol IMAP port $port
    user "$user" password "$password" sslproto "" fetchall
    mda "cat >> $work/got; echo >> $work/got"
RC
chmod 600 "$work/rc"
run() { HOME=$work fetchmail -f "$work/rc" --pidfile "$work/pid" --nosyslog "$@" > "$work/said" 2>&1; }
run || { cat "$work/said" >&2; fail "fetchmail says no"; }
for n in 1 2 3; do
    [ "$(grep -c "^Text of $n\." "$work/got")" = 1 ] || { cat "$work/said" "$work/got" >&2; fail "letter $n did not come once"; }
done
grep -q '^\.\.' "$work/got" || fail "the lines of dots are gone"
# It deleted what it took: there is nothing for a second run (its exit code 1).
code=0
run || code=$?
[ "$code" = 1 ] || { cat "$work/said" >&2; fail "the second run ended $code"; }
echo "all ok"
