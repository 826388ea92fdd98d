#!/usr/bin/env bash
# A model may answer with no text at all (finish reason "stop", content ""). One expects an agent run to end with an
# empty output, as openai-agents 0.24.0 for Python does after one request. @openai/agents 0.20.0 (JavaScript) over
# chat completions asks the model again, with the same input, until its ten turns are used up, and then fails with
# "Max turns (10) exceeded": ten generations are paid for and none is returned. The same with an answer of reasoning
# alone that met its limit, and with a body that is empty. Set `maxTurns` low where answers can be empty.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(cd "$dir" && npm init -y && npm install --no-audit --no-fund --ignore-scripts @openai/agents@0.20.0 openai@6.30.1 zod@4.6.7) >"$dir/log" 2>&1 || { tail -n 5 "$dir/log"; echo "cannot be installed"; exit 2; }
cat >"$dir/finding.mjs" <<'JS'
import { Agent, OpenAIChatCompletionsModel, run, setTracingDisabled } from '@openai/agents';
import OpenAI from 'openai';
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
const data = (value) => `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`;
const chunk = (delta, finish = null, more = {}) =>
  data({ id: 'c1', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: finish }], ...more });
const done = data('[DONE]');

setTracingDisabled(true);
const role = chunk({ role: 'assistant', content: '' });
async function ask(...pieces) {
  const { url, asked } = await serve([pieces]);
  const model = new OpenAIChatCompletionsModel(new OpenAI({ apiKey: 'none', baseURL: url, maxRetries: 0 }), 'm');
  try {
    const result = await run(new Agent({ name: 'a', model }), 'hello', { stream: true });
    for await (const _ of result);
    await result.completed;
    return [result.finalOutput, asked.length];
  } catch (error) {
    return [error.message, asked.length];
  }
}
console.log('@openai/agents 0.20.0');
verdict('one request each', {
  text: await ask(role, chunk({ content: 'Hello' }), chunk({}, 'stop'), done),
  empty: await ask(role, chunk({}, 'stop'), done),
  'reasoning to its limit': await ask(role, chunk({ reasoning: 'Let me think' }), chunk({}, 'length'), done),
  'empty body': await ask(),
}, {
  text: ['Hello', 1],
  empty: ['Max turns (10) exceeded', 10],
  'reasoning to its limit': ['Max turns (10) exceeded', 10],
  'empty body': ['Max turns (10) exceeded', 10],
});
JS
cd "$dir"
timeout 120 node --no-warnings finding.mjs || exit 1
