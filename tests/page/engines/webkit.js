/** WebKitGTK in a window, by its own WebDriver: the nearest thing to Safari that a server has. https://www.w3.org/TR/webdriver2/ */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { ended } from './display.js';

export const DRIVER = process.env.WEBKIT_DRIVER ?? '/usr/bin/WebKitWebDriver';

/** A port that nobody has. */
async function free() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  server.close();
  await once(server, 'close');
  return port;
}

/** The browser beside the library. */
function browser() {
  for (const machine of readdirSync('/usr/lib')) {
    for (const version of ['4.1', '4.0', '6.0']) {
      for (const path of [`/usr/lib/${machine}/webkit2gtk-${version}/MiniBrowser`, `/usr/lib/${machine}/webkitgtk-${version}/MiniBrowser`]) if (existsSync(path)) return path;
    }
  }
  throw new Error('there is no MiniBrowser');
}

/** @param {string} display */
export async function webkit(display) {
  const port = await free();
  const child = spawn(DRIVER, ['-p', String(port)], { env: { ...process.env, DISPLAY: display, LIBGL_ALWAYS_SOFTWARE: '1', WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1' }, stdio: 'ignore' });
  const send = async (/** @type {string} */ method, /** @type {string} */ path, /** @type {any} */ body) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, body: body && JSON.stringify(body) });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`${value.error}: ${value.message}`);
    return value;
  };
  // It says nothing when it listens.
  while (!(await send('GET', '/status').catch(() => null))) await pause(50);
  const options = { binary: browser(), args: ['--automation'] };
  const { sessionId } = await send('POST', '/session', { capabilities: { alwaysMatch: { 'webkitgtk:browserOptions': options } } });
  const call = (/** @type {string} */ path, /** @type {any} */ body) => send('POST', `/session/${sessionId}${path}`, body);
  return {
    goto: (/** @type {string} */ address) => call('/url', { url: address }),
    reload: () => call('/refresh', {}),
    value: async (/** @type {string} */ expression) => {
      const text = await call('/execute/async', { script: `const done = arguments[0]; Promise.resolve().then(() => (${expression})).then((value) => done(JSON.stringify(value)), (error) => done(JSON.stringify({ error: String(error) })))`, args: [] });
      return text === null ? undefined : JSON.parse(text);
    },
    picture: async () => Buffer.from(await send('GET', `/session/${sessionId}/screenshot`), 'base64'),
    size: (/** @type {number} */ width, /** @type {number} */ height) => call('/window/rect', { width, height }),
    type: (/** @type {string} */ text) => call('/actions', { actions: [{ type: 'key', id: 'keys', actions: [...text].flatMap((value) => [{ type: 'keyDown', value }, { type: 'keyUp', value }]) }] }),
    end: async () => {
      await send('DELETE', `/session/${sessionId}`).catch(() => {});
      await ended(child);
    },
  };
}
