#!/usr/bin/env bash
# @durable-streams/server 0.3.7 (npm), with its data on the disk, killed three times.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
need_npm @durable-streams/server@0.3.7
cat >"$dir/server.mjs" <<'JS'
import { DurableStreamTestServer } from '@durable-streams/server';
const [port, dataDir] = process.argv.slice(2);
await new DurableStreamTestServer({ port: Number(port), host: '127.0.0.1', dataDir }).start();
JS
mkdir -p "$dir/data"
start="cd $dir; echo \$\$ >pid; exec node server.mjs 9401 $dir/data"
serve 9401 "$start"
"$streamproof" run --protocol durable --target http://127.0.0.1:9401 \
  --pid "$pid" --start "$start" "$@"
