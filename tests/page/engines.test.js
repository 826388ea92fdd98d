/** The page in three engines, each in a window: `PAGE_TESTS=engines node --test run.js`. */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { found } from './axe.js';
import { chromium } from './engines/chromium.js';
import { display } from './engines/display.js';
import { FIREFOX, firefox } from './engines/firefox.js';
import { DRIVER, webkit } from './engines/webkit.js';
import { CHROMIUM, PATIENCE, Server, words } from './harness.js';

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

/** Another answer, and the way back to the first. */
async function branch(page) {
  const last = `[...document.querySelectorAll('.message.assistant')].at(-1)`;
  const press = (/** @type {string} */ label) => until(page, `(${last}.querySelector('[aria-label="${label}"]:not(:disabled)')?.click(), ${last}.querySelector('[aria-label="${label}"]') !== null)`);
  const stopped = await page.value(`${last}.dataset.id`);
  await press('Answer again');
  await until(page, `${last}.dataset.id !== '${stopped}' && ${TEXT}.length > 30`);
  await page.type(ESCAPE);
  await until(page, `${last}.querySelector('.count')?.textContent === '2 / 2' && ${WHOLE}`);
  await press('Previous version');
  await until(page, `${last}.dataset.id === '${stopped}'`);
}

/** Files are taken and refused by their bytes. */
async function files(page) {
  const given = { 'plan.txt': [112, 108, 97, 110], 'IMG_1.jpg': [0, 0, 0, 24, ...[...'ftypheic'].map((c) => c.charCodeAt(0)), 0, 0, 0, 0], 'logo.png': [...'<svg onload=x()>'].map((c) => c.charCodeAt(0)) };
  await page.value(`(() => {
    const data = new DataTransfer();
    for (const [name, bytes] of Object.entries(${JSON.stringify(given)})) data.items.add(new File([new Uint8Array(bytes)], name));
    document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
  })()`);
  await until(page, `document.getElementById('problem').textContent.startsWith('IMG_1.jpg is a picture that cannot be sent')`);
  assert.deepEqual(await until(page, `[...document.querySelectorAll('#files .file-name')].map((node) => node.textContent)`), ['plan.txt', 'logo.png']);
  assert.equal(await page.value(`document.querySelectorAll('#files img').length`), 0, 'a drawing is no picture');
  await until(page, `(document.querySelector('#files button')?.click(), document.querySelectorAll('#files li').length === 0)`);
}

/** As wide as a phone, and at night. @param {any} page @param {string} name */
async function small(page, name) {
  await page.size(390, 760);
  // The list slides away.
  await until(page, `innerWidth < 500 && getComputedStyle(document.querySelector('.sidebar')).visibility === 'hidden'`);
  await page.value(`(document.documentElement.style.colorScheme = 'dark', 0)`);
  const seen = await page.value(`(() => {
    const dark = (node) => (getComputedStyle(node).backgroundColor.match(/[\\d.]+/g) ?? []).slice(0, 3).every((part) => part < 60);
    const box = document.getElementById('composer').getBoundingClientRect();
    return { dark: dark(document.documentElement) && dark(document.getElementById('composer')), select: getComputedStyle(document.getElementById('model')).appearance,
      wide: document.documentElement.scrollWidth - innerWidth, room: innerHeight - box.bottom,
      lines: [...document.querySelectorAll('.count')].map((node) => Math.round(node.offsetHeight / parseFloat(getComputedStyle(node).lineHeight))) };
  })()`);
  assert.ok(seen.room >= 0 && seen.room < 30, JSON.stringify(seen));
  assert.deepEqual({ ...seen, room: 0 }, { dark: true, select: 'none', wide: 0, room: 0, lines: [1] });
  await page.value(`new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))`);
  if (process.env.PICTURES) writeFileSync(`${process.env.PICTURES}/${name}-phone.png`, await page.picture());
  if (name !== 'WebKitGTK') assert.deepEqual(await found(page), []);
  await page.value(`(document.documentElement.style.colorScheme = '', 0)`);
  await page.size(1260, 790);
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
  // Each engine finds what the others do not.
  if (name !== 'WebKitGTK') assert.deepEqual(await found(page), []);
  await branch(page);
  await files(page);
  await small(page, name);

  const conversation = await page.value(`location.pathname.split('/')[2]`);
  await ask(page, '/demo tokens=200 tps=40 seed=5');
  await until(page, `document.querySelectorAll('.message.assistant').length === 3 && ${TEXT}.length > 30`);
  const { url } = await restarted.post(`/v1/conversations/${conversation}/shares`, {});
  await page.goto(`${server.base}${url.replace('/v1', '')}`);
  await until(page, `document.querySelectorAll('.message.assistant').length === 3 && ${WHOLE}`);
  assert.equal(await page.value(`document.querySelectorAll('dialog, .sidebar, #composer').length`), 0);
}

for (const [name, program, start] of /** @type {const} */ ([['Chromium', CHROMIUM, chromium], ['Firefox', FIREFOX, firefox], ['WebKitGTK', DRIVER, webkit]])) {
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
