#!/usr/bin/env bash
# An event without data is not dispatched, and its name is forgotten (SSE specification). One expects the next
# event to have no name. @azure/core-sse 2.4.0 carries the name over: after `event: ping` and a blank line, the
# following chunk arrives as an event "ping". A client that switches on the name then throws a token away.
# Keep-alives as comments do no harm.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts @azure/core-sse@2.4.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { createSseStream } from '@azure/core-sse';
import http from 'node:http';

/** An upstream that answers every request with these pieces; `cut` breaks the connection instead of ending the body. */
async function serve(pieces, { cut = false, pause = 20, kind = 'text/event-stream' } = {}) {
  const server = http.createServer((request, response) => {
    request.resume();
    request.on('end', async () => {
      response.writeHead(200, { 'content-type': kind });
      response.flushHeaders();
      for (const piece of pieces) {
        response.write(piece);
        await new Promise((done) => setTimeout(done, pause));
      }
      cut ? response.destroy() : response.end();
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${server.address().port}`;
}
const event = (value, name) => `${name ? `event: ${name}\n` : ''}data: ${JSON.stringify(value)}\n\n`;
function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

const body = (await fetch(await serve(['event: ping\n\n', 'data: a\n\n', 'data: b\n\n']))).body;
const seen = [];
for await (const message of createSseStream(body)) seen.push([message.event, message.data]);
console.log('@azure/core-sse 2.4.0');
verdict('a and b without a name', seen, [['ping', 'a'], ['', 'b']]);
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
