# Sourced by the other scripts: ports, directories, and how a process is started and stopped.
# Everything a caller may set is listed in README.md. Never sets anything outside this shell.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
BASE=${STACK_BASE:-21000}
DATA=${STACK_DATA:-${TMPDIR:-/tmp}/stack-$BASE}
PATH=$PATH:/usr/sbin:/sbin

die() { echo "$1" >&2; exit "${2:-1}"; }
is_root() { [ "$(id -u)" = 0 ]; }

case $BASE in ''|*[!0-9]*) die "STACK_BASE must be a number, not '$BASE'" 2 ;; esac
[ "$BASE" -ge 1024 ] && [ "$BASE" -le 65400 ] || die "STACK_BASE must be 1024..65400, not $BASE" 2
case $DATA in /*) ;; *) DATA=$PWD/$DATA ;; esac
case $DATA in *[!A-Za-z0-9._/+-]*) die "STACK_DATA may hold only A-Z a-z 0-9 . _ / + -: $DATA" 2 ;; esac
# The path of a Unix socket ends at 107 characters.
[ ${#DATA} -le 60 ] || die "STACK_DATA is longer than 60 characters: $DATA" 2

if is_root; then RUN_USER=${STACK_USER:-stackmail}; else RUN_USER=$(id -un); fi

P_OAUTH=$BASE          P_OAUTH_TLS=$((BASE + 1))   # authorization server
P_IMAP=$((BASE + 10))  P_IMAPS=$((BASE + 11))      # Dovecot
P_SUB=$((BASE + 12))   P_SUBS=$((BASE + 13))       # Postfix
P_DSUB=$((BASE + 14))  P_DSUBS=$((BASE + 15))      # Dovecot submission
P_LMTP=$((BASE + 16))  P_RELAY=$((BASE + 17))      # inner: delivery, relay without login
P_WEB=$((BASE + 90))                               # a redirect URI on which nothing listens

DOMAIN=example.test
MAIL_SCOPE=${OAUTH_MAIL_SCOPE:-https://mail.example/}
CLIENT_SECRET=${OAUTH_CLIENT_SECRET:-stack-client-secret-0123456789abcdef}

# as_user CMD...: run CMD as RUN_USER (root gives up its rights, everybody else is RUN_USER already).
as_user() {
  if is_root && [ "$RUN_USER" != root ]; then
    setpriv --reuid="$RUN_USER" --regid="$(id -g "$RUN_USER")" --init-groups -- "$@"
  else
    "$@"
  fi
}

node_major() { "$1" -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0; }

# The Node.js for the authorization server (it wants 22): STACK_NODE, the system's, or the one npm brought.
pick_node() {
  [ -z "${STACK_NODE:-}" ] || { echo "$STACK_NODE"; return; }
  local node
  [ "$(node_major node)" -lt 22 ] || { command -v node; return; }
  for node in "$HERE"/oauth/node_modules/node-linux-*/bin/node; do
    ! "$node" -v >/dev/null 2>&1 || { echo "$node"; return; }
  done
  [ "$(node_major node)" -lt 20 ] || { command -v node; return; }
  echo "no usable Node.js: run $HERE/install.sh" >&2
  return 1
}

# A process is ours only while it has the recorded pid AND the recorded start time.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
state_of() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1; }
record() { echo "$2 $(start_time "$2")" >"$DATA/pids/$1"; }
alive() { # alive NAME
  local pid start
  read -r pid start 2>/dev/null <"$DATA/pids/$1" || return 1
  [ -n "$start" ] && [ "$(start_time "$pid")" = "$start" ] && [ "$(state_of "$pid")" != Z ]
}

# launch NAME LOG CMD...: in the background, with nothing of ours open. spawn: the same as RUN_USER.
launch() {
  local name=$1 log=$2; shift 2
  ( exec "$@" >>"$log" 2>&1 </dev/null 9>&- ) &
  record "$name" $!
}
spawn() {
  local name=$1 log=$2; shift 2
  if is_root && [ "$RUN_USER" != root ]; then
    launch "$name" "$log" setpriv --reuid="$RUN_USER" --regid="$(id -g "$RUN_USER")" --init-groups -- "$@"
  else
    launch "$name" "$log" "$@"
  fi
}

# stop_one NAME: TERM, up to five seconds, KILL; never anything but the recorded process.
stop_one() {
  local pid start
  if alive "$1"; then
    read -r pid start <"$DATA/pids/$1"
    kill -TERM "$pid" 2>/dev/null
    for _ in $(seq 1 100); do alive "$1" || break; sleep 0.05; done
    if alive "$1"; then
      echo "$1 ($pid) did not stop, killing it" >&2
      kill -KILL "$pid" 2>/dev/null
    fi
  fi
  rm -f "$DATA/pids/$1"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
wait_port() { # wait_port PORT SECONDS
  for _ in $(seq 1 $(($2 * 20))); do answers "$1" && return 0; sleep 0.05; done
  return 1
}
