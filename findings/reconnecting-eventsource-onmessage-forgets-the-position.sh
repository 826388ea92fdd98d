#!/usr/bin/env bash
# reconnecting-eventsource 1.6.5 wraps EventSource to reconnect also after a status such as 503, where EventSource
# gives up. One expects the new request to name the last event, as EventSource does. It does so, as `lastEventId` in
# the query, for events that came by `addEventListener`; with `onmessage`, the usual way, it keeps no position:
# after a 503 the stream begins from its first event again. The header `Last-Event-ID` is sent only while the inner
# EventSource is alive. Use `addEventListener('message', …)`, and let the server read `lastEventId` from the query,
# too.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts reconnecting-eventsource@1.6.5 eventsource@4.1.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { EventSource } from 'eventsource';
import wrapper from 'reconnecting-eventsource';
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
const ReconnectingEventSource = wrapper.default ?? wrapper;
async function read(listen) {
  const { url, asked } = await serve([['retry: 20\nid: 1\ndata: one\n\n', 'id: 2\ndata: two\n\n'], 503, ['id: 3\ndata: three\n\n']]);
  await new Promise((done) => {
    const source = new ReconnectingEventSource(url, { max_retry_time: 20 });
    listen(source, ({ data }) => data === 'three' && (source.close(), done()));
  });
  return asked.map((request) => `${request.url} ${request.headers['last-event-id'] ?? ''}`.trim());
}
console.log('reconnecting-eventsource 1.6.5');
verdict('the position 2 in the second and the third request, both times', {
  onmessage: await read((source, take) => (source.onmessage = take)),
  addEventListener: await read((source, take) => source.addEventListener('message', take)),
}, {
  onmessage: ['/', '/ 2', '/'],
  addEventListener: ['/', '/ 2', '/?lastEventId=2'],
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
