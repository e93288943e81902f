#!/bin/sh
# restore.sh FOLDER: a copy of backup.sh into an empty data folder and an empty database.
#
# STRICT_PREFIX_DATA and STRICT_PREFIX_DATABASE as the service will have them. Nothing that is there
# is overwritten: it stops at the first thing that is.
set -eu
source=${1:?usage: restore.sh FOLDER}
data=${STRICT_PREFIX_DATA:?set STRICT_PREFIX_DATA}
(cd "$source" && sha256sum --check --quiet SHA256SUMS)
if [ -e "$data/blobs" ] || [ -e "$data/strict-prefix.sqlite" ]; then
    echo "$data: expected an empty folder" >&2
    exit 2
fi
mkdir -p "$data"
if [ -n "${STRICT_PREFIX_DATABASE:-}" ]; then
    pg_restore --exit-on-error --single-transaction --no-owner \
        --dbname="$STRICT_PREFIX_DATABASE" "$source/database.dump"
else
    cp "$source/database.sqlite" "$data/strict-prefix.sqlite"
fi
tar --directory "$data" --extract --file "$source/blobs.tar"
