#!/bin/bash
# Installs what the stack and the end-to-end tests need: Debian packages (root only) and the
# authorization server's npm packages. Starts no service, and does nothing when all is there.
#   STACK_CLIENTS=1  more real mail clients: mbsync, msmtp, swaks
# Exit: 0 all there, 3 something is missing that only root (or another system) can bring.
set -eu
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
exec 9<"$HERE"; flock 9 # two test runs may both come here first

missing=()
need() { # need PACKAGE PROOF: a command, or a file (pattern) of the package
  command -v "$2" >/dev/null || compgen -G "$2" >/dev/null || missing+=("$1")
}
need openssl openssl
need curl curl
need python3 python3
need util-linux setpriv
need dovecot-imapd /usr/lib/dovecot/imap
need dovecot-submissiond /usr/lib/dovecot/submission
need dovecot-lmtpd /usr/lib/dovecot/lmtp
need postfix smtp-sink
need postgresql '/usr/lib/postgresql/*/bin/initdb'
need nodejs node
need npm npm
if [ "${STACK_CLIENTS:-0}" = 1 ]; then
  need isync mbsync
  need msmtp msmtp
  need swaks swaks
  need libnet-ssleay-perl '/usr/lib/*/perl5/*/Net/SSLeay.pm' # swaks cannot do TLS without it
  need libsasl2-modules '/usr/lib/*/sasl2/libplain.so'       # mbsync cannot do AUTHENTICATE PLAIN without it
fi

apt() { DEBIAN_FRONTEND=noninteractive nice apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends "$@" >>"$log" 2>&1; }
lacks() { case " ${missing[*]} " in *" $1 "*) ;; *) return 1 ;; esac; }

# Debian starts a service when its package is installed, unless policy-rc.d says no; ours is taken away again.
# PostgreSQL gets no cluster of its own, Postfix no name in the world.
policy=/usr/sbin/policy-rc.d cluster=/etc/postgresql-common/createcluster.conf made_policy=
put_back() {
  [ -z "$made_policy" ] || rm -f $policy
  [ ! -e $cluster.before ] || mv $cluster.before $cluster
}
apt_install() {
  log=$(mktemp)
  trap 'tail -n 20 "$log" >&2; rm -f "$log"; put_back' EXIT
  if [ ! -e $policy ]; then
    made_policy=1
    install -m 755 /dev/stdin $policy <<<$'#!/bin/sh\nexit 101'
  fi
  echo "installing ${missing[*]}"
  apt update
  if lacks postgresql; then
    apt install postgresql-common
    cp -p $cluster $cluster.before
    echo 'create_main_cluster = false' >>$cluster
  fi
  ! lacks postfix || echo 'postfix postfix/main_mailer_type select Local only' | debconf-set-selections
  apt install "${missing[@]}"
  # Nor may they come up at the next boot.
  for service in dovecot postfix; do
    case "${missing[*]}" in *$service*) systemctl disable $service >/dev/null 2>&1 || true ;; esac
  done
  trap - EXIT
  rm -f "$log"
  put_back
}

if [ ${#missing[@]} -gt 0 ]; then
  is_root || die "missing packages: ${missing[*]}
as root: apt-get install ${missing[*]}   (or run this script as root)" 3
  command -v apt-get >/dev/null || die "missing: ${missing[*]}, and there is no apt-get: the stack needs Debian 12" 3
  apt_install
fi
case $(dovecot --version) in
  2.3.*) ;;
  *) die "the configuration here is for Dovecot 2.3 (Debian 12), this is $(dovecot --version)" 3 ;;
esac
if is_root && ! id "$RUN_USER" >/dev/null 2>&1; then
  useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$RUN_USER"
fi

# The server wants Node.js 22. Debian's is older, so npm brings one (an optional dependency in the lock file).
with=(); [ "$(node_major node)" -lt 22 ] || with=(--omit=optional)
stamp=$(cat "$HERE"/oauth/package*.json <(echo "${with[@]}") | sha256sum)
if [ "$(cat "$HERE/oauth/node_modules/.installed" 2>/dev/null)" != "$stamp" ]; then
  echo "installing the authorization server (npm ci)"
  (cd "$HERE/oauth" && nice npm ci --no-audit --no-fund --loglevel=error "${with[@]}")
  echo "$stamp" >"$HERE/oauth/node_modules/.installed"
fi
node=$(pick_node)
echo "installed: Node.js $("$node" -v), Dovecot $(dovecot --version | cut -d' ' -f1), Postfix, PostgreSQL"
