#!/usr/bin/env bash
# @tanstack/ai-client 0.33.2 reconnects a numbered stream, with `maxAttempts` 5 by default. One expects five
# attempts whatever stops the next one. They count only for connections that break: a 503 from the proxy before a
# server that restarts, or a reconnection that ends cleanly before a new event (a proxy's idle limit while the model
# thinks), ends the run with an error at the first. So an upgrade of the server ends each chat that it cuts. Answer
# such a reconnection with a new numbered event, or break it.
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

const numbered = (from, ...values) => values.map((value, index) => `id: ${from + index}\ndata: ${JSON.stringify(value)}\n\n`);
const text = (delta) => ({ type: 'TEXT_MESSAGE_CONTENT', messageId: 'm', delta });
const begin = [
  ...numbered(1, { type: 'RUN_STARTED', threadId: 't', runId: 'r' }, { type: 'TEXT_MESSAGE_START', messageId: 'm', role: 'assistant' }, text('Hello')),
  null,
];
const rest = numbered(4, text(' world.'), { type: 'TEXT_MESSAGE_END', messageId: 'm' }, { type: 'RUN_FINISHED', threadId: 't', runId: 'r' });
async function ask(...answers) {
  const { url, asked } = await serve(answers);
  let end = 'nothing';
  const client = new ChatClient({
    connection: fetchServerSentEvents(url, { reconnect: { delayMs: 20 } }),
    onFinish: (message) => (end = message.parts.map((part) => part.content).join('')),
    onError: (error) => (end = error.name === 'Error' ? error.message : error.name),
  });
  await client.sendMessage('hello').catch(() => {});
  return [end, asked.length];
}
console.log('@tanstack/ai-client 0.33.2');
verdict('["Hello world.", 3] in all three', {
  'a ping, then broken': await ask(begin, [': ping\n\n', null], rest),
  'a ping, then the end': await ask(begin, [': ping\n\n'], rest),
  'status 503': await ask(begin, 503, rest),
}, {
  'a ping, then broken': ['Hello world.', 3],
  'a ping, then the end': ['DurableStreamIncompleteError', 2],
  'status 503': ['HTTP error! status: 503 Service Unavailable', 2],
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
