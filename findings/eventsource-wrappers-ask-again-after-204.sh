#!/usr/bin/env bash
# A server ends a stream for good with status 204: an EventSource that gets it does not reconnect (HTML standard).
# One expects packages of that name to stop, too. `eventsource` 4.1.0 does; reconnecting-eventsource 1.6.5 and
# react-native-sse 1.2.1 (here over xhr2) ask again and again, a finished answer for as long as the page is open,
# and the second reports each 204 as an open stream. Close them at the last event.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts reconnecting-eventsource@1.6.5 react-native-sse@1.2.1 eventsource@4.1.0 xhr2@0.2.1) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { EventSource } from 'eventsource';
import reconnecting from 'reconnecting-eventsource';
import native from 'react-native-sse';
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

globalThis.EventSource = EventSource;
globalThis.XMLHttpRequest = xhr2;
console.warn = () => {};
const ReconnectingEventSource = reconnecting.default ?? reconnecting;
const NativeEventSource = native.default ?? native;
async function read(open) {
  const { url, asked } = await serve([['retry: 20\n\n', 'id: 1\ndata: one\n\n'], 204]);
  let opened = 0;
  const source = open(url);
  source.addEventListener('message', () => {});
  if (source instanceof NativeEventSource) source.addEventListener('open', () => opened++);
  else source.onopen = () => opened++;
  for (let n = 0; n < 40 && asked.length < 6; n++) await new Promise((done) => setTimeout(done, 50));
  source.close();
  return [asked.length < 6 ? `${asked.length} requests` : 'many requests', `opened ${opened < 4 ? opened : 'many times'}`];
}
console.log('eventsource 4.1.0, reconnecting-eventsource 1.6.5, react-native-sse 1.2.1');
verdict('["2 requests", "opened 1"] in all three', {
  eventsource: await read((url) => new EventSource(url)),
  'reconnecting-eventsource': await read((url) => new ReconnectingEventSource(url, { max_retry_time: 20 })),
  'react-native-sse': await read((url) => new NativeEventSource(url)),
}, {
  eventsource: ['2 requests', 'opened 1'],
  'reconnecting-eventsource': ['many requests', 'opened 1'],
  'react-native-sse': ['many requests', 'opened many times'],
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
