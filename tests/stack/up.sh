#!/bin/bash
# up.sh [COMPONENT...]: start the stack, or only some of it:
#   oauth    the authorization server
#   dovecot  IMAP, submission and delivery
#   postfix  submission (without root: a sink for what Dovecot's submission relays)
# What already runs is left alone. Writes the endpoints to $STACK_DATA/env, prints them, and returns when
# a fresh token really logs in.
set -eu
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
began=$(date +%s%N)
components=${*:-oauth dovecot postfix}
for name in $components; do
  case $name in oauth | dovecot | postfix) ;; *) die "no component $name: oauth, dovecot, postfix" 2 ;; esac
done
for tool in dovecot openssl setpriv curl smtp-sink; do command -v $tool >/dev/null || die "no $tool: run $HERE/install.sh" 3; done
id "$RUN_USER" >/dev/null 2>&1 || die "no user $RUN_USER: run $HERE/install.sh" 3
[ -d "$HERE/oauth/node_modules/oidc-provider" ] || die "no oauth/node_modules: run $HERE/install.sh" 3
NODE=$(pick_node)
POSTFIX=0; ! is_root || POSTFIX=1
ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"

directories() {
  mkdir -p "$DATA" && chmod 755 "$DATA"
  exec 9<"$DATA"; flock 9
  mkdir -p "$DATA"/{pids,log,tls,oauth,mail,conf,dovecot,postfix}
  ! is_root || chown "$RUN_USER:$(id -gn "$RUN_USER")" "$DATA"/{log,tls,oauth,mail,dovecot}
  as_user test -x "$DATA/log" || die "$RUN_USER cannot enter $DATA: choose another STACK_DATA"
  bash "$HERE/ca.sh" "$DATA/tls"
  ! is_root || chown "$RUN_USER" "$DATA"/tls/*.key
}

# A clone below /root is closed to RUN_USER: then the server runs from a copy.
server_directory() {
  SERVER=$HERE/oauth
  as_user test -r "$SERVER/server.mjs" -a -r "$SERVER/node_modules/oidc-provider" -a -x "$NODE" && return
  SERVER=$DATA/oauth-copy
  mkdir -p "$SERVER"
  cp -a --update "$HERE"/oauth/*.mjs "$HERE"/oauth/package.json "$HERE/oauth/node_modules" "$SERVER/"
  case $NODE in "$HERE"/oauth/*) NODE=$SERVER${NODE#"$HERE"/oauth} ;; esac
}

# fill TEMPLATE FILE: @NAME@ becomes the value of NAME.
fill() {
  local name script=
  for name in $(grep -oE '@[A-Z][A-Z_]+@' "$HERE/conf/$1" | tr -d @ | sort -u); do
    case $name in
      UID) script+="s|@UID@|$(id -u "$RUN_USER")|g;" ;; # the shell keeps this name for itself
      *) script+="s|@$name@|${!name}|g;" ;;
    esac
  done
  sed "$script" "$HERE/conf/$1" >"$2"
}
GID=$(id -g "$RUN_USER") GROUP=$(id -gn "$RUN_USER") USER=$RUN_USER
DEBUG=${STACK_DEBUG:-no} FAIL_DELAY=${STACK_FAIL_DELAY:-0}

ports=() # that must answer in the end
claim() { # claim PORT...: nobody else may be there
  for port in "$@"; do ! answers "$port" || die "port $port is taken by something else: choose another STACK_BASE"; done
  ports+=("$@")
}

start_oauth() {
  claim "$P_OAUTH" "$P_OAUTH_TLS"
  local settings=() line
  while read -r line; do settings+=("$line"); done < <(env | grep '^OAUTH_' || true)
  spawn oauth "$DATA/log/oauth.log" env -i -C "$DATA" PATH="$PATH" HOME="$DATA" "${settings[@]}" \
    OAUTH_PORT="$P_OAUTH" OAUTH_TLS_PORT="$P_OAUTH_TLS" OAUTH_TLS_KEY="$DATA/tls/server.key" OAUTH_TLS_CERT="$DATA/tls/server.crt" \
    OAUTH_DATA="$DATA/oauth" OAUTH_DOMAIN="$DOMAIN" OAUTH_CLIENT_SECRET="$CLIENT_SECRET" OAUTH_MAIL_SCOPE="$MAIL_SCOPE" \
    "$NODE" "$SERVER/server.mjs"
  # Dovecot reads the public keys it writes.
  wait_port "$P_OAUTH" 30 || { tail -n 5 "$DATA/log/oauth.log" >&2; die "the authorization server does not come up"; }
}

start_dovecot() {
  claim "$P_IMAP" "$P_IMAPS" "$P_DSUB" "$P_DSUBS" "$P_LMTP"
  fill dovecot.conf.in "$DATA/conf/dovecot.conf"
  fill oauth2-introspect.conf.ext.in "$DATA/conf/oauth2-introspect.conf.ext"
  fill oauth2-jwt.conf.ext.in "$DATA/conf/oauth2-jwt.conf.ext"
  spawn dovecot "$DATA/log/dovecot.out" "$(command -v dovecot)" -F -c "$DATA/conf/dovecot.conf"
}

start_postfix() {
  claim "$P_RELAY"
  if [ $POSTFIX = 0 ]; then
    spawn postfix "$DATA/log/postfix.out" "$(command -v smtp-sink)" -m 500 "127.0.0.1:$P_RELAY" 1024
    return
  fi
  claim "$P_SUB" "$P_SUBS"
  local conf=$DATA/postfix/conf
  mkdir -p "$conf" "$DATA"/postfix/{spool,lib}
  chown postfix "$DATA/postfix/lib"
  fill postfix-main.cf.in "$conf/main.cf"
  fill postfix-master.cf.in "$conf/master.cf"
  # Postfix would wait until main.cf is two seconds old.
  touch -d '10 seconds ago' "$conf"/*.cf
  # The first time this makes the queue directories.
  [ -d "$DATA/postfix/spool/pid" ] || postfix -c "$conf" check >>"$DATA/log/postfix.out" 2>&1 || true
  launch postfix "$DATA/log/postfix.out" "$(postconf -c "$conf" -h daemon_directory)/master" -c "$conf" -s
}

# The ports answer before Dovecot can log anybody in, so one login decides.
wait_login() {
  local token
  for _ in $(seq 1 100); do
    token=$(curl -sf -m 5 "http://127.0.0.1:$P_OAUTH/admin/mint" -d '{"login":"probe@example.test","refresh":false,"access_ttl":60}' | sed 's/.*"access_token":"\([^"]*\)".*/\1/') || true
    ! curl -sf -m 5 --cacert "$DATA/tls/ca.crt" -u "probe@$DOMAIN:" --oauth2-bearer "$token" --login-options AUTH=XOAUTH2 \
      "imaps://127.0.0.1:$P_IMAPS/" -X NOOP >/dev/null 2>&1 || return 0
    sleep 0.1
  done
  return 1
}

endpoints() {
  cat <<X
STACK_BASE=$BASE
STACK_DATA=$DATA
STACK_CA=$DATA/tls/ca.crt
STACK_OAUTH=http://127.0.0.1:$P_OAUTH
STACK_OAUTH_TLS=https://127.0.0.1:$P_OAUTH_TLS
STACK_IMAP=localhost:$P_IMAP
STACK_IMAPS=localhost:$P_IMAPS
STACK_DSUBMISSION=localhost:$P_DSUB
STACK_DSUBMISSIONS=localhost:$P_DSUBS
X
  [ $POSTFIX = 0 ] || printf 'STACK_SUBMISSION=localhost:%s\nSTACK_SUBMISSIONS=localhost:%s\n' "$P_SUB" "$P_SUBS"
  cat <<X
STACK_CLIENT_ID=web-basic
STACK_CLIENT_SECRET=$CLIENT_SECRET
STACK_MAIL_SCOPE=$MAIL_SCOPE
STACK_WEB_REDIRECT=http://127.0.0.1:$P_WEB/callback
X
}

directories
server_directory
for name in oauth dovecot postfix; do
  case " $components " in *" $name "*) alive $name || start_$name ;; esac
done
for port in "${ports[@]}"; do wait_port "$port" 30 || die "port $port does not answer; see $DATA/log"; done
if alive oauth && alive dovecot; then
  fresh=0; [ ${#ports[@]} = 0 ] || fresh=1
  wait_login || die "no login with a fresh token; see $DATA/log/dovecot.log"
  [ $fresh = 0 ] || curl -sf "http://127.0.0.1:$P_OAUTH/admin/stats/reset" -d '' >/dev/null
fi
endpoints >"$DATA/env"
cat "$DATA/env"
echo "# up in $((($(date +%s%N) - began) / 1000000)) ms"
