/** A model of the kind that everybody serves: the chat completions of OpenAI, word by word. */
import { createServer } from 'node:http';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

export class Upstream {
  static async start() {
    const upstream = new Upstream();
    /** The last messages that it got, one for each request, and all of them. */
    upstream.asked = [];
    upstream.told = [];
    /** Requests that are refused for good, from now on. */
    upstream.refuses = 0;
    /** So many requests are answered to the middle, until their reader hangs up. */
    upstream.stalls = 0;
    upstream.server = createServer((request, response) => upstream.answer(request, response).catch(() => response.destroy()));
    await new Promise((resolve) => upstream.server.listen(0, '127.0.0.1', resolve));
    return upstream;
  }

  /** A configuration that offers it as `script`. @param {string} folder @param {string} [continuation] whether it goes on from a text @returns {Record<string, string>} for a server */
  env(folder, continuation = 'none') {
    const path = join(folder, 'lastword.toml');
    const { port } = this.server.address();
    writeFileSync(path, `default_model = "script"\n[[models]]\nname = "script"\nprovider = "openai"\nbase_url = "http://127.0.0.1:${port}/v1"\ncontinuation = "${continuation}"\non_loss = "restart"\n`);
    return { LASTWORD_CONFIG: path };
  }

  async answer(request, response) {
    let body = '';
    for await (const piece of request) body += piece;
    const { messages } = JSON.parse(body);
    this.asked.push(messages.at(-1).content);
    this.told.push(messages);
    if (this.refuses > 0) {
      this.refuses -= 1;
      response.writeHead(400, { 'content-type': 'application/json' });
      return response.end('{"error":{"message":"not today","type":"invalid_request_error"}}');
    }
    const number = this.asked.length;
    const say = (delta, finish_reason = null) => response.write(`data: ${JSON.stringify({ id: 'x', object: 'chat.completion.chunk', created: 1, model: 'script', choices: [{ index: 0, delta, finish_reason }] })}\n\n`);
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (let i = 0; i < 60 && !response.destroyed; i += 1) {
      say({ role: 'assistant', content: `try${number}word${i} ` });
      if (i === 20 && number <= this.stalls) await new Promise((resolve) => response.on('close', resolve));
      await pause(30);
    }
    say({}, 'stop');
    response.end('data: [DONE]\n\n');
  }

  stop() {
    this.server.close();
    this.server.closeAllConnections();
  }
}
