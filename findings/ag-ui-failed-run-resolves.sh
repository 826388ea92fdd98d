#!/usr/bin/env bash
# The `runAgent()` of AG-UI's HttpAgent has an `onRunFailed`. One expects it to be called, and the promise to be
# rejected, when a run ends with RUN_ERROR or its body ends before RUN_FINISHED. @ag-ui/client 1.0.0 resolves in both
# cases, keeps the half message as one of the agent's, and calls only `onRunFinalized`, as after a whole run. Keep
# what `onRunFinishedEvent` said.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts @ag-ui/client@1.0.0) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { HttpAgent } from '@ag-ui/client';
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

const begin = [event({ type: 'RUN_STARTED', threadId: 't', runId: 'r' }), event({ type: 'TEXT_MESSAGE_START', messageId: 'm', role: 'assistant' })];
const text = (delta) => event({ type: 'TEXT_MESSAGE_CONTENT', messageId: 'm', delta });
const end = [event({ type: 'TEXT_MESSAGE_END', messageId: 'm' }), event({ type: 'RUN_FINISHED', threadId: 't', runId: 'r' })];
console.error = () => {};
async function ask(pieces) {
  const agent = new HttpAgent({ url: await serve(pieces) });
  let failed = false;
  const said = await agent.runAgent({ runId: 'r' }, { onRunFailed: () => void (failed = true) }).then(() => 'resolved', (error) => error.name);
  return [agent.messages.map((message) => message.content).join(), said, failed];
}
console.log('@ag-ui/client 1.0.0');
verdict('resolved once; an error and onRunFailed twice', {
  whole: await ask([...begin, text('Half'), text(' and half'), ...end]),
  'early end': await ask([...begin, text('Half')]),
  RUN_ERROR: await ask([...begin, text('Half'), event({ type: 'RUN_ERROR', message: 'the model is gone' })]),
}, { whole: ['Half and half', 'resolved', false], 'early end': ['Half', 'resolved', false], RUN_ERROR: ['Half', 'resolved', false] });
JS
cd "$dir"
timeout 60 node --no-warnings finding.mjs || exit 1
