/** Firefox in a window, by WebDriver BiDi, which it speaks by itself. https://w3c.github.io/webdriver-bidi/ */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ended } from './display.js';

export const FIREFOX = process.env.FIREFOX ?? '/usr/bin/firefox-esr';

/** @param {string} display */
export async function firefox(display) {
  const profile = mkdtempSync(join(tmpdir(), 'lastword-firefox-'));
  const child = spawn(FIREFOX, ['--profile', profile, '--no-remote', '--remote-debugging-port', '0', 'about:blank'], { env: { ...process.env, DISPLAY: display, HOME: profile }, stdio: ['ignore', 'ignore', 'pipe'] });
  const url = await new Promise((resolve, reject) => {
    let said = '';
    child.on('exit', (code) => reject(new Error(`Firefox ended with ${code}: ${said}`)));
    child.stderr?.on('data', (data) => {
      said = `${said}${data}`.slice(-4000);
      const found = /listening on (ws:\S+)/.exec(said);
      if (found) resolve(found[1]);
    });
  });
  let last = 0;
  const waiting = new Map();
  // Node 20 has its WebSocket behind --experimental-websocket.
  const socket = new WebSocket(`${url}/session`);
  await once(socket, 'open');
  socket.addEventListener('message', ({ data }) => {
    const answer = JSON.parse(data);
    const [resolve, reject] = waiting.get(answer.id) ?? [];
    waiting.delete(answer.id);
    if (answer.type === 'error') reject?.(new Error(answer.message));
    else resolve?.(answer.result);
  });
  const call = (/** @type {string} */ method, /** @type {any} */ params) => new Promise((resolve, reject) => {
    waiting.set(++last, [resolve, reject]);
    socket.send(JSON.stringify({ id: last, method, params }));
  });
  await call('session.new', { capabilities: {} });
  const { contexts: [{ context }] } = await call('browsingContext.getTree', {});
  return {
    goto: (/** @type {string} */ address) => call('browsingContext.navigate', { context, url: address, wait: 'complete' }),
    reload: () => call('browsingContext.reload', { context, wait: 'complete' }),
    /** The value, by JSON, of an expression. @param {string} expression */
    value: async (expression) => {
      const { result, exceptionDetails } = await call('script.evaluate', { expression: `Promise.resolve(${expression}).then((value) => JSON.stringify(value))`, target: { context }, awaitPromise: true });
      if (exceptionDetails) throw new Error(exceptionDetails.text);
      return result.value === undefined ? undefined : JSON.parse(result.value);
    },
    /** A picture of the window, as PNG. @returns {Promise<Buffer>} */
    picture: async () => Buffer.from((await call('browsingContext.captureScreenshot', { context })).data, 'base64'),
    size: (/** @type {number} */ width, /** @type {number} */ height) => call('browsingContext.setViewport', { context, viewport: { width, height } }),
    /** Types, as fingers do. @param {string} text one character for each key */
    type: (text) => call('input.performActions', { context, actions: [{ type: 'key', id: 'keys', actions: [...text].flatMap((value) => [{ type: 'keyDown', value }, { type: 'keyUp', value }]) }] }),
    end: async () => {
      socket.close();
      await ended(child);
      rmSync(profile, { recursive: true, force: true });
    },
  };
}
