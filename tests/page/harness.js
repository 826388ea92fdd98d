/** Real servers and a real Chromium for the page's tests. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

/** A wait that takes longer, in ms, has failed; nothing is decided by less. */
export const PATIENCE = 60_000;

/** The usual places; CHROMIUM names another. */
export const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Actions that a browser starts by itself, and must not while tests run. */
export const QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--force-color-profile=srgb'];

/** Without a service worker, which would keep requests from what tests put in their way; shell.test.js has one. Without motion: a light that breathes draws sixty times a second, in software, for every page at once. */
const USUAL = { viewport: { width: 1200, height: 800 }, reducedMotion: /** @type {const} */ ('reduce'), serviceWorkers: /** @type {const} */ ('block') };

/** Those that no test has ended: a test that fails leaves its own. @type {Set<Server>} */
const alive = new Set();

/** Ends what is left. Without it, a server of a failed test keeps the run from ending. */
export async function endServers() {
  for (const server of alive) await server.kill();
}

/** `lastword serve`, on the tests' database. */
export class Server {
  /**
   * @param {{ port?: number, keys?: string[][], env?: Record<string, string | undefined>, dir?: string }} [options]
   * `keys`: the arguments of `keys create`, one list each; with any, nobody comes in without
   */
  static async start({ port = 0, keys = [], env: more = {}, dir } = {}) {
    const server = new Server();
    server.dir = dir ?? mkdtempSync(join(tmpdir(), 'lastword-page-'));
    const args = ['serve', '--data-dir', server.dir, '--listen', `127.0.0.1:${port}`, ...(keys.length ? ['--require-key'] : [])];
    const env = { ...process.env, LASTWORD_NO_DETECT: 'true', LASTWORD_LEASE_S: '2', RUST_LOG: 'warn', ...more };
    server.keys = keys.map((options) => execFileSync(process.env.SERVER_BINARY, ['keys', 'create', '--data-dir', server.dir, ...options], { env, encoding: 'utf8' }).split('\n')[0]);
    server.child = spawn(process.env.SERVER_BINARY, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    server.ended = once(server.child, 'exit');
    alive.add(server);
    for await (const line of createInterface({ input: server.child.stdout })) {
      const found = /http:\/\/127\.0\.0\.1:(\d+)/.exec(line);
      if (found) server.port = Number(found[1]);
      if (server.port && line.includes('model ')) break;
    }
    assert.ok(server.port, 'the server starts');
    server.base = `http://127.0.0.1:${server.port}`;
    return server;
  }

  /** SIGKILL, and waits until it is gone. @param {{ keep?: boolean }} [options] `keep`: its data stays */
  async kill({ keep = false } = {}) {
    alive.delete(this);
    this.child.kill('SIGKILL');
    await this.ended;
    if (!keep) rmSync(this.dir, { recursive: true, force: true });
  }

  async get(path) {
    return (await fetch(this.base + path)).json();
  }

  async post(path, body, headers = {}) {
    const init = { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) };
    return (await fetch(this.base + path, init)).json();
  }

  /** A generation's final view. */
  async view(id) {
    const events = await fetch(`${this.base}/v1/generations/${id}/events`);
    await events.text();
    return this.get(`/v1/generations/${id}`);
  }
}

let shared;

/** One browser for all. */
export function browser() {
  shared ??= chromium.launch({ executablePath: CHROMIUM, args: QUIET });
  return shared;
}

export async function closeBrowser() {
  if (shared) await (await shared).close();
}

/**
 * A page in a profile of its own, that fails its test when anything goes wrong in it unseen.
 * @param {{ base: string }} server @param {any} [options] of the context, `path`, and `ready`: what is there once the page is up
 */
export async function openPage(server, { path = '/', ready = path.startsWith('/shared/') ? '.message' : '#model option', context: given, ...options } = {}) {
  const context = given ?? (await (await browser()).newContext({ ...USUAL, ...options }));
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(error.stack ?? String(error)));
  // The messages of the browser about a cut network are the point of many tests.
  page.on('console', (message) => {
    const harmless = /ERR_(CONNECTION|INTERNET|INCOMPLETE|EMPTY|ABORTED|NETWORK)|WebSocket connection|Service Worker registration blocked|status of (401|403|404|409|422|503)/;
    if (['error', 'warning'].includes(message.type()) && !harmless.test(message.text())) wrong.push(message.text());
  });
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener('securitypolicyviolation', (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
  });
  await page.goto(server.base + path);
  await page.locator(ready).first().waitFor({ state: 'attached' });
  return Object.assign(page, {
    /** Nothing went wrong, and no policy was violated. */
    async fine() {
      assert.deepEqual(await page.evaluate(() => window.violations), []);
      assert.deepEqual(wrong, []);
    },
    async done() {
      await this.fine();
      if (!given) await context.close();
      else await page.close();
    },
    wrong,
    ask: async (text) => {
      await page.fill('#prompt', text);
      await page.keyboard.press('Enter');
    },
    /** Waits for the nth answer (from 0) to be whole. @returns its generation's id */
    whole: async (n = 0) => {
      const answer = page.locator('.message.assistant').nth(n);
      await answer.and(page.locator(':not(.running)')).waitFor();
      return answer.getAttribute('data-id');
    },
    /** Waits until the last answer has so many characters. */
    grown: (least) => page.waitForFunction((n) => ([...document.querySelectorAll('.message.assistant .text')].at(-1)?.textContent ?? '').length >= n, least),
    /** The words of the nth answer: Markdown's marks are gone from both sides. */
    says: async (n = 0) => words(await page.locator('.message.assistant').nth(n).locator('.text').innerText()),
  });
}

/** Only the letters and digits, so that what is shown and what is stored compare. @param {string} text */
export const words = (text) => text.replace(/[^\p{L}\p{N}]+/gu, ' ').trim();
