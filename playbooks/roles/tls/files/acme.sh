#!/bin/sh
# The certificate that everybody believes, by ACME (RFC 8555). Made by Ansible (role tls); callplane-acme.timer runs it
# daily with /etc/callplane/acme.env. lego calls it with "installed" when there is a new one.
set -eu
state=${ACME_STATE:-/var/lib/callplane-acme}
target=${ACME_TARGET:-/etc/callplane/public-tls}

if [ "${1:-}" = installed ]; then
    umask 077
    # Who reads the files between the two moves reads a key and a certificate that do not fit, and keeps the former ones.
    install -m 0640 -g "$ACME_GROUP" "$LEGO_CERT_KEY_PATH" "$target/key.new"
    install -m 0640 -g "$ACME_GROUP" "$LEGO_CERT_PATH" "$target/cert.new"
    mv "$target/key.new" "$target/key.pem"
    mv "$target/cert.new" "$target/cert.pem"
    # Calls and connections go on; a server that does not run reads the files when it starts.
    sh -c "$ACME_RELOAD" || echo "callplane: the server was not told of its new certificate: $ACME_RELOAD" >&2
    exit 0
fi

first=${ACME_NAMES%% *}
set --
for name in $ACME_NAMES; do set -- "$@" --domains "$name"; done
set -- --path "$state" --server "$ACME_SERVER" --email "$ACME_EMAIL" --accept-tos --http --http.port ":$ACME_PORT" "$@"
if [ -e "$state/certificates/$first.crt" ] && [ "$(cat "$state/names" 2>/dev/null)" = "$ACME_NAMES" ]; then
    exec lego "$@" renew --days "$ACME_DAYS" --no-random-sleep --renew-hook "sh $0 installed"
fi
lego "$@" run --run-hook "sh $0 installed"
echo "$ACME_NAMES" >"$state/names"
