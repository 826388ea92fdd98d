#!/usr/bin/env bash
# A server that closes a WebSocket with code 1000 says that all is done. One expects reconnecting wrappers to
# stop then, and to reopen after other codes (1001, 1006, 4000). reconnecting-websocket 4.4.0 and partysocket
# 1.3.0 reopen after 1000 as after any other code, as often as their delays allow, until `close()` is called on
# them. A server that streams an answer and closes with 1000 is asked for the same answer again and again: the
# client must close by itself at the last event.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts reconnecting-websocket@4.4.0 partysocket@1.3.0 ws@8.23.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import Reconnecting from 'reconnecting-websocket';
import { WebSocket as Party } from 'partysocket';
import { WebSocket, WebSocketServer } from 'ws';
function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

async function connections(Wrapper) {
  let count = 0;
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  server.on('connection', (socket) => (count++, socket.close(1000, 'the answer is complete')));
  await new Promise((done) => server.on('listening', done));
  const client = new Wrapper(`ws://127.0.0.1:${server.address().port}`, [], { WebSocket, minReconnectionDelay: 50, maxReconnectionDelay: 100 });
  await new Promise((done) => setTimeout(done, 3000));
  client.close();
  server.close();
  return count === 1 ? 'one connection' : count >= 4 ? 'many connections' : `${count} connections`;
}
console.log('reconnecting-websocket 4.4.0, partysocket 1.3.0');
verdict('one connection each', [await connections(Reconnecting), await connections(Party)], ['many connections', 'many connections']);
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
