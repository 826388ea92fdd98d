/** For everybody: keyboards, screen readers, phones, at night, and answers that do not end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { audit } from './axe.js';
import { browser, openPage } from './harness.js';
import { servers } from './servers.js';

const RICH = '/demo tokens=420 tps=0 ttft_ms=0 seed=2 markdown reasoning tool_call';

for (const [name, options] of /** @type {const} */ ([
  ['by day', { colorScheme: 'light' }],
  ['at night', { colorScheme: 'dark' }],
  ['on a phone', { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true }],
])) {
  test(`no barrier that a machine can find, ${name}`, async () => {
    const page = await openPage(await servers.first(), { ...options, reducedMotion: 'reduce' });
    await audit(page, 'empty');
    await page.ask(RICH);
    await page.whole();
    await page.locator('.hl-keyword').first().waitFor({ state: 'attached' });
    await audit(page, 'answer');
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${wide} px too wide`);
    await page.getByRole('button', { name: 'Protocol inspector' }).click();
    await page.getByText('Cut the connection').waitFor();
    await audit(page, 'inspector');
    await page.getByRole('button', { name: 'Close the inspector' }).click();
    await page.getByRole('button', { name: 'Settings' }).click();
    await page.getByRole('dialog').waitFor();
    await audit(page, 'settings');
    await page.keyboard.press('Escape');
    if (name === 'on a phone') {
      await page.getByRole('button', { name: 'Conversations', exact: true }).click();
      await page.locator('#conversations a').first().waitFor();
      await audit(page, 'list');
    }
    await page.done();
  });
}

test('a screen reader hears how it stands, and no tokens', async () => {
  const page = await openPage(await servers.first());
  await page.evaluate(() => {
    window.said = [];
    new MutationObserver(() => window.said.push(document.getElementById('status').textContent)).observe(document.getElementById('status'), { childList: true, characterData: true, subtree: true });
  });
  await page.ask('/demo tokens=60 tps=100 seed=8');
  await page.whole();
  await page.getByText(/Answer ready/).waitFor({ state: 'attached' });
  const said = await page.evaluate(() => window.said);
  assert.deepEqual(said.filter((text) => !/^(Generating an answer\.|Answer ready, \d+ words\.|Back online\.|Reconnecting\.)$/.test(text)), []);
  assert.equal(await page.locator('#transcript').getAttribute('aria-live'), 'off');
  await page.done();
});

test('sentences are read as they come, if one wants that', async () => {
  const page = await openPage(await servers.first());
  await page.evaluate(() => {
    localStorage['lastword.settings'] = JSON.stringify({ sentences: true });
    window.said = [];
    new MutationObserver(() => window.said.push(document.getElementById('status').textContent)).observe(document.getElementById('status'), { childList: true });
  });
  await page.ask('/demo tokens=120 tps=25 seed=8');
  await page.whole();
  await page.getByText(/Answer ready/).waitFor({ state: 'attached' });
  const said = await page.evaluate(() => window.said);
  const heard = said.map((text) => text.replace(/^(Generating|Back|Reconn).*|Answer ready.*/, '').trim()).filter(Boolean);
  assert.ok(heard.length > 1, `${heard}`);
  for (const text of heard) assert.match(text, /[.!?]$/);
  assert.ok((await page.says()).startsWith(heard[0].replace(/[^\p{L}\p{N}]+/gu, ' ').trim()));
  await page.done();
});

test('whoever scrolled up stays there', async () => {
  const page = await openPage(await servers.first(), { viewport: { width: 1000, height: 420 } });
  await page.ask('/demo tokens=600 tps=150 seed=9');
  await page.grown(1200);
  await page.locator('#scroller').hover();
  await page.mouse.wheel(0, -500);
  await page.locator('#jump').waitFor();
  const top = await page.evaluate(() => document.getElementById('scroller').scrollTop);
  await page.grown(2400);
  assert.equal(await page.evaluate(() => document.getElementById('scroller').scrollTop), top);
  await page.locator('#jump').click();
  await page.whole();
  const rest = await page.evaluate(() => {
    const box = document.getElementById('scroller');
    return box.scrollHeight - box.clientHeight - box.scrollTop;
  });
  assert.ok(rest <= 1, `${rest} px from the end`);
  await page.done();
});

test('a late event of the page’s own scrolling does not catch a reader who just left', async () => {
  const page = await openPage(await servers.first());
  const stuck = await page.evaluate(async () => {
    const { Scroller } = await import('/static/scroller.js');
    const make = () => document.body.appendChild(document.createElement('div'));
    const [box, jump] = [make(), make()];
    Object.assign(box.style, { height: '100px', overflow: 'auto' });
    const content = box.appendChild(document.createElement('div'));
    content.style.height = '1000px';
    const scroller = new Scroller(box, content, jump);
    scroller.follow();
    box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Home' }));
    box.dispatchEvent(new Event('scroll'));
    return scroller.stuck;
  });
  assert.equal(stuck, false);
  await page.done();
});

test('everything by keyboard', async () => {
  const page = await openPage(await servers.first());
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.id ?? '');
  await page.locator('#prompt:focus').waitFor();
  await page.keyboard.type('/demo tokens=100000 tps=50');
  await page.keyboard.press('Enter');
  await page.grown(30);
  assert.equal(await focused(), 'prompt', 'the focus stays where one writes');
  // Out of the search, and the answer goes on.
  await page.keyboard.press('Control+k');
  assert.equal(await focused(), 'search');
  await page.keyboard.press('Escape');
  assert.equal(await focused(), 'prompt');
  await page.grown((await page.locator('.text').innerText()).length + 20);
  await page.keyboard.press('Escape');
  await page.locator('.note').waitFor();
  await page.keyboard.press('ArrowUp');
  assert.equal(await focused(), 'Edit your message');
  await page.keyboard.press('Control+a');
  await page.keyboard.type('/demo tokens=9 tps=0');
  await page.keyboard.press('Enter');
  await page.locator('.message.user .count').waitFor();
  await page.whole();
  await page.keyboard.press('Control+k');
  assert.equal(await focused(), 'search');
  // On through the list: a conversation, then its menu, then out of it.
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  assert.match(await focused(), /^Actions for/);
  await page.keyboard.press('Enter');
  await page.locator('[role="menuitem"]:focus', { hasText: 'Rename' }).waitFor();
  await page.keyboard.press('ArrowUp');
  await page.locator('[role="menuitem"]:focus', { hasText: 'Delete' }).waitFor();
  await page.keyboard.press('Escape');
  assert.match(await focused(), /^Actions for/);
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keyboard' }).waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+Shift+o');
  await page.waitForURL(/\/(\?.*)?$/);
  await page.locator('.empty').waitFor();
  await page.done();
});

test('a phone’s keyboard that covers the page leaves the box in sight', async () => {
  const context = await (await browser()).newContext({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  // As a browser tells of it that does not make the page smaller by itself.
  await context.addInitScript(() => Object.defineProperty(window, 'visualViewport', { value: Object.assign(new EventTarget(), { scale: 1, height: 844 }) }));
  const page = await openPage(await servers.first(), { context });
  const bottom = (/** @type {number} */ height, scale = 1) => page.evaluate(([height, scale]) => {
    Object.assign(window.visualViewport, { height, scale }).dispatchEvent(new Event('resize'));
    return document.getElementById('send').getBoundingClientRect().bottom;
  }, [height, scale]);
  assert.ok(await bottom(500) < 500);
  assert.ok(await bottom(844) > 700);
  assert.ok(await bottom(422, 2) > 700, 'zoom is no keyboard');
  await page.done();
  await context.close();
});

test('languages from right to left, and text of twice and four times the size', async () => {
  const server = await servers.first();
  const page = await openPage(server, { viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 });
  await page.ask('שלום, מה שלומך היום?');
  await page.whole();
  const direction = (/** @type {string} */ selector) => page.locator(selector).first().evaluate((node) => getComputedStyle(node).direction);
  assert.equal(await direction('.said'), 'rtl');
  await page.evaluate(async () => {
    const { Markdown } = await import('/static/markdown.js');
    const root = Object.assign(document.createElement('div'), { id: 'here' });
    document.getElementById('transcript').append(root);
    new Markdown(root).write('שלום **עולם**\n\n- אחד\n- two\n\n```js\nlet x;\n```\n\nplain', true);
  });
  assert.deepEqual(await Promise.all(['p', 'li', 'li + li', '.code', '.code + p'].map((selector) => direction(`#here ${selector}`))), ['rtl', 'rtl', 'rtl', 'ltr', 'ltr']);
  await page.ask(RICH);
  await page.whole(1);
  // 1280 px wide at 200 %, then at 400 %: what is wide scrolls in its own box.
  for (const width of [640, 320]) {
    await page.setViewportSize({ width, height: 400 });
    const wide = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(await wide() <= 0, `${await wide()} px too wide at ${width}`);
    assert.ok(await page.locator('#send').isVisible());
  }
  await page.done();
});

test('how long it took and how fast it was, where one looks', async () => {
  const page = await openPage(await servers.first());
  await page.ask('/demo tokens=50 tps=100 ttft_ms=150');
  await page.whole();
  await page.ask('/demo tokens=5 tps=0');
  await page.whole(1);
  const facts = page.locator('.facts').first();
  const seen = () => facts.evaluate((node) => getComputedStyle(node).opacity);
  assert.equal(await seen(), '0');
  await page.locator('.message.assistant').first().hover();
  await page.locator('.facts', { hasText: /Done · 50 tokens · first token \d+ ms · \d+ tok\/s · demo/ }).first().waitFor();
  assert.equal(await seen(), '1');
  await page.done();
});

test('an answer of 20,000 tokens', async (t) => {
  const page = await openPage(await servers.first());
  await page.evaluate(() => {
    window.long = [];
    new PerformanceObserver((list) => window.long.push(...list.getEntries().map((e) => Math.round(e.duration)))).observe({ type: 'longtask' });
  });
  await page.ask('/demo tokens=20000 tps=4000 ttft_ms=0 seed=10 markdown');
  const id = await page.whole();
  const view = await (await servers.first()).get(`/v1/generations/${id}`);
  assert.equal(view.usage.output_tokens, 20000);
  // Figures for people; on a busy machine they say little, so that nothing is decided by them.
  const long = await page.evaluate(() => window.long);
  t.diagnostic(`long tasks: ${long.length}, longest ${Math.max(0, ...long)} ms, together ${long.reduce((a, b) => a + b, 0)} ms`);
  const blocks = await page.locator('.text .group > *').count();
  assert.ok(blocks > 300, `${blocks} blocks`);
  // Opened again, most of it has never been laid out: its end and its beginning are where they should be all the same.
  await page.reload();
  await page.whole();
  // It is shown in pieces: one that still came would move the end.
  await page.waitForFunction((count) => document.querySelectorAll('.text .group > *').length >= count, blocks);
  const box = page.locator('#scroller');
  const place = () => box.evaluate((node) => [node.scrollTop, node.scrollHeight - node.clientHeight - node.scrollTop]);
  await page.waitForFunction(() => {
    const { scrollHeight, clientHeight, scrollTop } = document.getElementById('scroller');
    return scrollHeight > 20 * clientHeight && scrollHeight - clientHeight - scrollTop <= 1;
  });
  await box.focus();
  await page.keyboard.press('Home');
  await page.waitForFunction(() => document.getElementById('scroller').scrollTop === 0);
  await page.locator('#jump').click();
  await page.waitForFunction(() => document.getElementById('jump').hidden);
  assert.ok((await place())[1] <= 1, `${await place()}`);
  await page.done();
});
