#!/bin/bash
# A private, throwaway PostgreSQL from Debian's package: 127.0.0.1 only, no password, nothing of the system's.
#   postgres.sh start DIR PORT [--durable]   prints postgres://postgres@127.0.0.1:PORT/postgres
#   postgres.sh stop DIR [--crash] [--wipe]
# PORT 0 picks a free one. DIR may be left over from an earlier run, finished or not; what it holds is kept
# until --wipe. --durable syncs to disk (tests are quicker without). --crash stops without a checkpoint.
# As root the server runs as the user postgres, who must be able to enter the directory above DIR.
# Exit: 0 done, 1 it did not work, 2 wrong usage, 3 PostgreSQL is not installed.
set -eu

die() { echo "postgres.sh: $1" >&2; exit "${2:-1}"; }
usage() { sed -n '2,9s/^# \?//p' "$0" >&2; exit 2; }

BIN=${POSTGRES_BIN:-$(dirname "$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1)")}
USER_=$(id -un)
[ "$USER_" != root ] || USER_=postgres

as_user() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid="$USER_" --regid="$(id -g "$USER_")" --init-groups -- env -C / "$@"
  else
    env -C / "$@"
  fi
}

# The pid of OUR running server: the one of its pid file, and only while it works in our data directory.
running() {
  local pid
  pid=$(head -n 1 "$DATA/postmaster.pid" 2>/dev/null) || return 1
  [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$DATA" ] && echo "$pid"
}

port_of() { sed -n 4p "$DATA/postmaster.pid"; }
url() { echo "postgres://postgres@127.0.0.1:$1/postgres"; }
taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_port() {
  local port
  for _ in $(seq 1 100); do
    port=$((20000 + RANDOM % 12000)) # below the range that the system gives to outgoing connections
    taken $port || { echo $port; return; }
  done
  die "no free port found"
}

make_cluster() {
  [ ! -e "$DIR/ready" ] || [ ! -d "$DATA" ] || return 0
  rm -rf "$DATA" "$DIR/ready" # an initdb that did not come to its end
  as_user "$BIN/initdb" -D "$DATA" -U postgres --auth=trust --encoding=UTF8 --no-locale --no-sync >"$DIR/initdb.log" 2>&1 ||
    { cat "$DIR/initdb.log" >&2; die "initdb failed"; }
  touch "$DIR/ready"
}

launch() { # launch PORT: fails when the port is taken
  local options="-c listen_addresses=127.0.0.1 -c port=$1 -c unix_socket_directories='' -c max_connections=200"
  [ $durable = 1 ] || options+=" -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
  as_user "$BIN/pg_ctl" start -D "$DATA" -l "$DIR/postgres.log" -o "$options" -w -t 60 -s </dev/null >/dev/null 2>&1 9>&-
}

start() {
  local port=$1 durable=0 tries=1 at
  [ "$port" != 0 ] || tries=3 # somebody may take the free port before we do
  case ${2:-} in '') ;; --durable) durable=1 ;; *) usage ;; esac
  case $port in *[!0-9]* | '') usage ;; esac
  [ -x "$BIN/initdb" ] && id "$USER_" >/dev/null 2>&1 || die "PostgreSQL is not installed (Debian package postgresql)" 3
  mkdir -p "$DIR"
  exec 9<"$DIR"; flock 9
  [ -e "$DIR/throwaway" ] || [ -z "$(ls -A "$DIR")" ] || die "$DIR holds something else"
  touch "$DIR/throwaway" # from here on all in DIR is ours to remove
  [ "$(id -u)" != 0 ] || chown "$USER_" "$DIR"
  as_user test -x "$DIR" || die "the user $USER_ cannot enter $DIR: choose a directory that others may enter"
  if running >/dev/null; then
    [ "$port" = 0 ] || [ "$port" = "$(port_of)" ] || die "it already runs, on port $(port_of)"
    url "$(port_of)"
    return
  fi
  make_cluster
  rm -f "$DATA/postmaster.pid" # of a server that is gone
  for _ in $(seq 1 "$tries"); do
    at=$port
    [ "$port" != 0 ] || at=$(free_port)
    launch "$at" && { url "$at"; return; }
  done
  tail -n 5 "$DIR/postgres.log" >&2
  die "it does not come up on port $at"
}

stop() {
  local mode=fast wipe=0 pid
  for option in "$@"; do
    case $option in --crash) mode=immediate ;; --wipe) wipe=1 ;; *) usage ;; esac
  done
  [ -d "$DIR" ] || return 0
  exec 9<"$DIR"; flock 9
  if pid=$(running); then
    as_user "$BIN/pg_ctl" stop -D "$DATA" -m $mode -w -t 60 -s || die "it ($pid) does not stop"
  fi
  [ $wipe = 0 ] || [ ! -e "$DIR/throwaway" ] || rm -rf "$DIR"
}

[ $# -ge 2 ] || usage
command=$1
DIR=$(realpath -m "$2") DATA=$(realpath -m "$2")/data
shift 2
case $command in
  start) [ $# -ge 1 ] || usage; start "$@" ;;
  stop) stop "$@" ;;
  *) usage ;;
esac
