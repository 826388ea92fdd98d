#!/usr/bin/env bash
# Comments, a lone `retry:` and a lone `id:` hold no data; EventSource dispatches nothing for them. One expects
# `onmessage` to be called for data only. @microsoft/fetch-event-source 2.0.1 calls it with data "" for each, so
# the usual `JSON.parse(message.data)` throws at the first keep-alive; that is taken for a lost connection, and
# the whole request is sent again. Clients have to test `if (message.data)`; an LLM request repeated at each
# keep-alive is paid each time.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts @microsoft/fetch-event-source@2.0.1) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { fetchEventSource } from '@microsoft/fetch-event-source';
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

globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
globalThis.window = globalThis;
const url = await serve([': still here\n\n', 'retry: 10\n\n', 'id: 1\n\n', 'data: {"token":"a"}\n\n']);
const seen = [];
const stop = new AbortController();
await fetchEventSource(url, { signal: stop.signal, openWhenHidden: true, onmessage: (m) => seen.push(m.data), onclose: () => stop.abort() });
let asked = 0;
const again = new AbortController();
await fetchEventSource(url, {
  signal: again.signal, openWhenHidden: true, onmessage: (m) => JSON.parse(m.data),
  onopen: async () => { if (++asked === 3) again.abort(); },
}).catch(() => {});
console.log('@microsoft/fetch-event-source 2.0.1');
verdict('one message; one request', [seen, asked], [['', '', '', '{"token":"a"}'], 3]);
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
