#!/bin/bash
# doveadm.sh ARGS...: doveadm of the stack's Dovecot, e.g.
#   doveadm.sh who | doveadm.sh kick alice@example.test | doveadm.sh mailbox status -u bob@example.test messages INBOX
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
as_user doveadm -c "$DATA/conf/dovecot.conf" "$@"
