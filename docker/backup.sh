#!/bin/sh
# backup.sh FOLDER: a consistent copy of a running service into a new folder.
#
# STRICT_PREFIX_DATA and STRICT_PREFIX_DATABASE as the service has them. The database goes first:
# an archive is written before the row that names it, so every row of the copy has its archive.
# Jobs on SQLite are not copied; a start queues every audit that has not ended.
set -eu
target=${1:?usage: backup.sh FOLDER}
data=${STRICT_PREFIX_DATA:?set STRICT_PREFIX_DATA}
mkdir "$target"
if [ -n "${STRICT_PREFIX_DATABASE:-}" ]; then
    pg_dump --format=custom --no-owner --file="$target/database.dump" "$STRICT_PREFIX_DATABASE"
else
    python3 - "$data/strict-prefix.sqlite" "$target/database.sqlite" <<'END'
import sqlite3
import sys
source, copy = (sqlite3.connect(path) for path in sys.argv[1:])
source.backup(copy)
copy.close()
END
fi
tar --directory "$data" --exclude='.incoming-*' --create --file "$target/blobs.tar" blobs
cd "$target"
sha256sum database.* blobs.tar >SHA256SUMS
