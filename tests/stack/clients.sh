#!/bin/bash
# clients.sh IMAPPORT IMAPTLS SMTPPORT SMTPTLS USER PASSWORDFILE CAFILE: real mail clients against an adapter on
# localhost: curl, and mbsync, msmtp, swaks when installed (STACK_CLIENTS=1 ./install.sh).
# TLS is plain, starttls or tls. Each IMAP client fetches from INBOX, each SMTP client sends USER a message.
# Prints "ok" or "FAIL" per client. Exit: the number of failures.
set -u
[ $# = 7 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
IMAPPORT=$1 IMAPTLS=$2 SMTPPORT=$3 SMTPTLS=$4 USER_=$5 PASSWORD=$(cat "$6") CA=$(realpath "$7")
export LC_ALL=C
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export HOME=$work
printf '%s\n' "$PASSWORD" >"$work/password"
printf 'From: <%s>\r\nTo: <%s>\r\nSubject: sent by a real client\r\nDate: %s\r\n\r\nhello\r\n' "$USER_" "$USER_" "$(date -R)" >"$work/letter"
printf 'user = "%s:%s"\n' "$USER_" "$PASSWORD" >"$work/curl" # not on the command line
failures=0

run() { # run NAME CMD...
  local name=$1; shift
  if timeout 40 "$@" >"$work/out" 2>&1 </dev/null; then
    echo "ok   $name"
  else
    failures=$((failures + 1))
    echo "FAIL $name: $(tr -s '\r\n' ' ' <"$work/out" | cut -c 1-200)"
  fi
}
pick() { # pick TLS PLAIN STARTTLS TLS: the word that belongs to the first
  case $1 in plain) echo "$2" ;; starttls) echo "$3" ;; tls) echo "$4" ;; *) echo "TLS is plain, starttls or tls" >&2; exit 2 ;; esac
}

curl_with() { curl -sS --max-time 20 --cacert "$CA" -K "$work/curl" "$@"; }
curl_imap() { # what curl_smtp sent may still be on its way: exit 78, no such message
  for _ in 1 2 3 4 5 6 7 8 9; do
    curl_imap_once && return
    [ $? = 78 ] || return 1
    sleep 0.3
  done
  curl_imap_once
}
curl_imap_once() { curl_with $(pick "$IMAPTLS" "" --ssl-reqd "") "$(pick "$IMAPTLS" imap imap imaps)://localhost:$IMAPPORT/INBOX;MAILINDEX=1"; }
curl_smtp() {
  curl_with $(pick "$SMTPTLS" "" --ssl-reqd "") --mail-from "$USER_" --mail-rcpt "$USER_" -T "$work/letter" \
    "$(pick "$SMTPTLS" smtp smtp smtps)://localhost:$SMTPPORT/client.test"
}
mbsync_imap() {
  mkdir -p "$work/mail"
  cat >"$work/mbsyncrc" <<X
IMAPAccount a
Host localhost
Port $IMAPPORT
User $USER_
PassCmd "cat $work/password"
AuthMechs $1
SSLType $(pick "$IMAPTLS" None STARTTLS IMAPS)
$(pick "$IMAPTLS" "" "CertificateFile $CA" "CertificateFile $CA")

IMAPStore far
Account a

MaildirStore near
Path $work/mail/
Inbox $work/mail/INBOX

Channel c
Far :far:
Near :near:
Patterns INBOX
Create Near
MaxMessages 3
ExpireUnread yes
Expunge None
SyncState *
X
  mbsync -c "$work/mbsyncrc" c && compgen -G "$work/mail/INBOX/*/*" >/dev/null
}
msmtp_smtp() {
  cat >"$work/msmtprc" <<X
account a
host localhost
port $SMTPPORT
tls $(pick "$SMTPTLS" off on on)
tls_starttls $(pick "$SMTPTLS" off on off)
$(pick "$SMTPTLS" "" "tls_trust_file $CA" "tls_trust_file $CA")
from $USER_
auth $(pick "$SMTPTLS" plain on on)
user $USER_
passwordeval "cat $work/password"
X
  chmod 600 "$work/msmtprc"
  msmtp -C "$work/msmtprc" -a a "$USER_" <"$work/letter"
}
swaks_smtp() {
  local tls; read -ra tls <<<"$(pick "$SMTPTLS" "" "-tls --tls-verify --tls-ca-path $CA" "-tlsc --tls-verify --tls-ca-path $CA")"
  swaks --server localhost --port "$SMTPPORT" "${tls[@]}" --auth "$1" --auth-user "$USER_" --auth-password "$PASSWORD" \
    --from "$USER_" --to "$USER_" --ehlo client.test --silent 1
}
export -f pick curl_with curl_imap curl_imap_once curl_smtp mbsync_imap msmtp_smtp swaks_smtp
export IMAPPORT IMAPTLS SMTPPORT SMTPTLS USER_ PASSWORD CA work

run "curl SMTP" bash -c curl_smtp
run "curl IMAP" bash -c curl_imap
if command -v mbsync >/dev/null; then
  for mechanism in LOGIN PLAIN; do run "mbsync $mechanism" bash -c "mbsync_imap $mechanism"; done
fi
if command -v msmtp >/dev/null; then run "msmtp" bash -c msmtp_smtp; fi
if command -v swaks >/dev/null; then
  for mechanism in PLAIN LOGIN; do run "swaks $mechanism" bash -c "swaks_smtp $mechanism"; done
fi
exit $failures
