#!/usr/bin/env bash
# An EventSource that reconnects sends the last `id:` as `Last-Event-ID`, also when that id came in an event without
# data (HTML standard: the id is taken before the data is looked at), so a server can move the position with its
# sign of life. `eventsource` 5.1.5 does both. event-source-polyfill 1.0.31 sends no header: the position is
# `lastEventId` in the query. And it, launchdarkly-eventsource 2.2.0 and `eventsource` 4.1.0 do not count an id
# without data, so the server sends again what that id had passed. The polyfill's query parameter can be named by
# `lastEventIdQueryParameterName`.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts event-source-polyfill@1.0.31 launchdarkly-eventsource@2.2.0 eventsource@5.1.5 eventsource-4@npm:eventsource@4.1.0 xhr2@0.2.1) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { EventSource } from 'eventsource';
import { EventSource as EventSource4 } from 'eventsource-4';
import launchdarkly from 'launchdarkly-eventsource';
import polyfill from 'event-source-polyfill';
import xhr2 from 'xhr2';
import http from 'node:http';

/** An upstream that gives one answer after the other: a status, or pieces of a body; null breaks the connection. */
async function serve(answers) {
  const asked = [];
  const server = http.createServer((request, response) => {
    request.resume();
    request.on('end', async () => {
      const answer = answers[Math.min(asked.length, answers.length - 1)];
      asked.push(request);
      if (typeof answer === 'number') return response.writeHead(answer).end();
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      for (const piece of answer) {
        if (piece === null) return response.destroy();
        response.write(piece);
        await new Promise((done) => setTimeout(done, 20));
      }
      response.end();
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${server.address().port}`, asked };
}
function verdict(expected, seen, described) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(described)];
  console.log('expected:', expected);
  console.log('seen:    ', a);
  console.log(a === b ? 'as described' : `CHANGED: described was ${b}`);
  process.exit(a === b ? 0 : 1);
}

globalThis.XMLHttpRequest = xhr2;
async function position(open, piece) {
  const { url, asked } = await serve([['retry: 20\n\n', 'id: 1\ndata: one\n\n', piece], ['data: end\n\n']]);
  const source = open(url);
  await new Promise((done) => (source.onmessage = ({ data }) => data === 'end' && done()));
  source.close();
  return `${asked[1].url} ${asked[1].headers['last-event-id'] ?? ''}`.trim();
}
const seen = {};
for (const [name, open] of [
  ['eventsource 5', (url) => new EventSource(url)],
  ['eventsource 4', (url) => new EventSource4(url)],
  ['event-source-polyfill', (url) => new polyfill.EventSourcePolyfill(url)],
  ['launchdarkly-eventsource', (url) => new launchdarkly.EventSource(url, { initialRetryDelayMillis: 20 })],
]) seen[name] = [await position(open, 'id: 2\ndata: two\n\n'), await position(open, 'id: 2\n\n')];
console.log('eventsource 5.1.5 and 4.1.0, event-source-polyfill 1.0.31, launchdarkly-eventsource 2.2.0');
verdict('"/ 2" eight times', seen, {
  'eventsource 5': ['/ 2', '/ 2'],
  'eventsource 4': ['/ 2', '/ 1'],
  'event-source-polyfill': ['/?lastEventId=2', '/?lastEventId=1'],
  'launchdarkly-eventsource': ['/ 2', '/ 1'],
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
