#!/usr/bin/env bash
# An `id:` line before an event of a POST's answer is valid SSE, and many servers number their events. One expects a
# chat client to take up a broken answer only where the server offers that, or to ask by GET. @tanstack/ai-client
# 0.33.2 takes any `id:` for a promise: after a cut it sends its whole POST again with `Last-Event-ID`. A server
# that knows no resumption generates a second answer, numbered from 1 again; the client skips the numbers that it
# has seen and appends the rest, so two answers become one text, without an error. Number events only where POST
# understands `Last-Event-ID`; the header `X-Run-Id` is the same in both requests.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts @tanstack/ai-client@0.33.2 @tanstack/ai@0.58.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { ChatClient, fetchServerSentEvents } from '@tanstack/ai-client';
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

const numbered = (...values) => values.map((value, index) => `id: ${index + 1}\ndata: ${JSON.stringify(value)}\n\n`);
const text = (delta) => ({ type: 'TEXT_MESSAGE_CONTENT', messageId: 'm', delta });
const start = [{ type: 'RUN_STARTED', threadId: 't', runId: 'r' }, { type: 'TEXT_MESSAGE_START', messageId: 'm', role: 'assistant' }];
const end = [{ type: 'TEXT_MESSAGE_END', messageId: 'm' }, { type: 'RUN_FINISHED', threadId: 't', runId: 'r' }];
const { url, asked } = await serve([
  [...numbered(...start, text('Take two pills')), null],
  numbered(...start, text('No pills:'), text(' see a doctor.'), ...end),
]);
const seen = { finished: null, error: null };
const client = new ChatClient({
  connection: fetchServerSentEvents(url),
  onFinish: (message) => (seen.finished = message.parts.map((part) => part.content).join('')),
  onError: (error) => (seen.error = error.name),
});
await client.sendMessage('hello').catch(() => {});
seen.requests = asked.map(({ method, headers }) => `${method} after ${headers['last-event-id'] ?? 'nothing'}`);
seen['same X-Run-Id'] = asked[0].headers['x-run-id'] === asked.at(-1).headers['x-run-id'];
console.log('@tanstack/ai-client 0.33.2');
verdict('one POST and an error, or one of the two answers', seen, {
  finished: 'Take two pills see a doctor.',
  error: null,
  requests: ['POST after nothing', 'POST after 3'],
  'same X-Run-Id': true,
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
