#!/bin/bash
# ca.sh DIR: a private CA and one server certificate for localhost, 127.0.0.1 and *.example.test.
# Leaves a certificate alone that is still good for a day.
set -eu
mkdir -p "$1"; cd "$1"
[ -s server.crt ] && openssl x509 -checkend 86400 -noout -in server.crt >/dev/null && exit 0
umask 077
ec=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
openssl req -x509 "${ec[@]}" -days 825 -keyout ca.key -out ca.crt -subj "/CN=stack test CA" \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
openssl req "${ec[@]}" -keyout server.key -out server.csr -subj /CN=localhost 2>/dev/null
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 397 -out server.crt -extfile /dev/stdin 2>/dev/null <<X
subjectAltName=DNS:localhost,DNS:*.example.test,DNS:example.test,IP:127.0.0.1
basicConstraints=CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
authorityKeyIdentifier=keyid
subjectKeyIdentifier=hash
X
rm -f server.csr
chmod 644 ca.crt server.crt
