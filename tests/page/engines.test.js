/** The page in the engines that are not Chromium's, each in a window: `PAGE_TESTS=engines node --test run.js`. */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { found } from './axe.js';
import { display } from './engines/display.js';
import { FIREFOX, firefox } from './engines/firefox.js';
import { DRIVER, webkit } from './engines/webkit.js';
import { PATIENCE, Server, words } from './harness.js';

const ENTER = '\uE007';
const ESCAPE = '\uE00C';
/** A look at a page of another process costs it little, so often. In ms. */
const LOOK = 50;

/** Waits until an expression is true in the page; its value. */
async function until(page, expression) {
  for (const end = Date.now() + PATIENCE; Date.now() < end; await pause(LOOK)) {
    // A page that is being replaced answers nothing.
    const value = await page.value(expression).catch(() => null);
    if (value && !value.error) return value;
  }
  throw new Error(`not in time: ${expression}`);
}

const TEXT = `(document.querySelector('.message.assistant:last-child .text')?.innerText ?? '')`;
const WHOLE = `document.querySelector('.stretch:last-child > .message.assistant:last-child:not(.running)') !== null`;
const said = (page) => page.value(TEXT).then(words);

async function ask(page, prompt) {
  await until(page, `document.getElementById('model')?.options.length > 0 && (document.getElementById('prompt').focus(), true)`);
  await page.type(prompt + ENTER);
}

/** The actions of people, in one engine. @param {any} page @param {{ server: Server }} place @param {string} name */
async function everyday(page, place, name) {
  const { server } = place;
  await page.goto(`${server.base}/`);
  await ask(page, '/demo tokens=300 tps=30 seed=3');
  await until(page, `${TEXT}.length > 80`);
  await page.reload();
  await until(page, `${TEXT}.length > 160`);
  const id = await until(page, `document.querySelector('.message.assistant').dataset.id`);
  await server.kill({ keep: true });
  const restarted = await Server.start({ port: server.port, dir: server.dir, env: { DATABASE_URL: undefined } });
  place.server = restarted;
  await until(page, WHOLE);
  assert.equal(await said(page), words((await restarted.view(id)).text), 'to its last word');

  // The box grows, in a window whose bars take room.
  const heights = await page.value(`[1, 9].map((lines) => {
    const area = document.getElementById('prompt');
    area.value = Array(lines).fill('x').join('\\n');
    area.dispatchEvent(new Event('input', { bubbles: true }));
    return area.clientHeight;
  })`);
  assert.ok(heights[1] >= heights[0] + 8 * 20, `${heights}`);
  await page.value(`(document.getElementById('prompt').value = '', 0)`);
  await until(page, `document.querySelector('#conversations li a') !== null`);
  assert.deepEqual(await page.value(`['#conversations', 'body'].map((part) => document.querySelector(part)).map((node) => node.scrollWidth - node.clientWidth)`), [0, 0]);

  await ask(page, '/demo tokens=100000 tps=30 seed=4');
  await until(page, `document.querySelectorAll('.message.assistant').length === 2 && ${TEXT}.length > 30`);
  await page.type(ESCAPE);
  assert.match(await until(page, `document.querySelector('.note:not([hidden])')?.innerText`), /Stopped at event \d+/);
  // A person who sends a prompt follows its answer.
  await until(page, `(() => { const { scrollHeight, clientHeight, scrollTop } = document.getElementById('scroller'); return scrollHeight - clientHeight - scrollTop <= 1; })()`);

  // Lists from right to left have their numbers inside.
  const room = await page.value(`import('/static/markdown.js').then(({ Markdown }) => {
    const root = document.createElement('div');
    document.getElementById('transcript').append(root);
    new Markdown(root).write('1. \u0623\u0648\u0644\u0627\\n2. \u062b\u0627\u0646\u064a\u0627', true);
    const range = document.createRange();
    range.selectNodeContents(root.querySelector('li'));
    const room = root.getBoundingClientRect().right - range.getBoundingClientRect().right;
    root.remove();
    return Math.round(room);
  })`);
  assert.equal(room, 24);

  if (process.env.PICTURES) writeFileSync(`${process.env.PICTURES}/${name}.png`, await page.picture());
  // Its own engine finds what Chromium's does not.
  if (name === 'Firefox') assert.deepEqual(await found(page), []);

  const conversation = await page.value(`location.pathname.split('/')[2]`);
  await ask(page, '/demo tokens=200 tps=40 seed=5');
  await until(page, `document.querySelectorAll('.message.assistant').length === 3 && ${TEXT}.length > 30`);
  const { url } = await restarted.post(`/v1/conversations/${conversation}/shares`, {});
  await page.goto(`${server.base}${url.replace('/v1', '')}`);
  await until(page, `document.querySelectorAll('.message.assistant').length === 3 && ${WHOLE}`);
  assert.equal(await page.value(`document.querySelectorAll('dialog, .sidebar, #composer').length`), 0);
}

for (const [name, program, start] of /** @type {const} */ ([['Firefox', FIREFOX, firefox], ['WebKitGTK', DRIVER, webkit]])) {
  test(`send, reload, kill, grow, stop and share in ${name}`, async () => {
    assert.ok(existsSync(program), `${program} is missing: scripts/setup engines installs it`);
    const screen = await display();
    const place = { server: await Server.start({ env: { DATABASE_URL: undefined } }) };
    const page = await start(screen.name);
    try {
      await everyday(page, place, name);
    } finally {
      await page.end();
      await screen.end();
      await place.server.kill();
    }
  });
}
