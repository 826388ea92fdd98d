/** The look of the page: nothing jumps, the protocol can be watched, the models can be chosen. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Server, openPage } from './harness.js';
import { servers } from './servers.js';
import { Upstream } from './upstream.js';

const RICH = '/demo tokens=420 tps=0 ttft_ms=0 seed=2 markdown reasoning tool_call';

/** So much of the window may move without anyone's doing, by the browser's own account; what people call good is 0.1. */
const STILL = 0.01;

const watchShifts = (page) => page.addInitScript(() => {
  window.shifts = [];
  new PerformanceObserver((list) => {
    for (const entry of /** @type {any[]} */ (list.getEntries())) {
      if (!entry.hadRecentInput) window.shifts.push([entry.value, entry.sources.map(({ node }) => node?.id || node?.className || node?.nodeName).join(' ')]);
    }
  }).observe({ type: 'layout-shift', buffered: true });
});

/** Once all that was seen is painted. */
async function still(page) {
  const shifts = await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => resolve(window.shifts)))));
  assert.ok(shifts.reduce((sum, [value]) => sum + value, 0) < STILL, JSON.stringify(shifts));
}

for (const [name, options] of /** @type {const} */ ([
  ['on a desk', {}],
  ['on a phone', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }],
])) {
  test(`nothing moves by itself, while the page comes and while an answer grows, ${name}`, async () => {
    const server = await servers.first();
    await server.post('/v1/generations', { conversation_id: (await server.post('/v1/conversations', {})).id, prompt: '/demo tokens=1 tps=0' });
    const page = await openPage(server, options);
    await watchShifts(page);
    await page.reload();
    await page.locator('#model option').first().waitFor({ state: 'attached' });
    await page.locator('#conversations li').first().waitFor({ state: 'attached' });
    await still(page);
    // One line, also on a phone: a box that grows with what a script fills in moves by itself.
    await page.ask('/demo tokens=99 tps=99 markdown');
    await page.whole();
    await still(page);
    await page.ask(RICH);
    await page.whole(1);
    await page.reload();
    await page.whole(1);
    await page.locator('.hl-keyword').first().waitFor({ state: 'attached' });
    await still(page);
    await page.done();
  });
}

test('the inspector shows what goes over the wire, cuts it, and a resume can be watched', async () => {
  const page = await openPage(await servers.first());
  await page.keyboard.press('Control+i');
  const drawer = page.getByRole('complementary', { name: 'Protocol inspector' });
  await drawer.getByText('Send a message').waitFor();
  await page.ask('/demo tokens=20000 tps=40 seed=31');
  await page.grown(40);
  const rows = drawer.locator('tbody tr');
  const seen = (/** @type {RegExp} */ text) => rows.filter({ hasText: text });
  await seen(/^1\s*started.*WS$/).waitFor();
  await drawer.getByRole('button', { name: 'Cut the connection' }).click();
  await seen(/connection lost: cut by hand/).waitFor();
  await seen(/resumed behind \d+/).first().waitFor();
  const [behind] = /\d+/.exec(await seen(/resumed behind/).first().innerText()) ?? [];
  await seen(new RegExp(`^${Number(behind) + 1}\\b`)).first().waitFor();
  await drawer.getByText(/· (1 resume|([2-9]|\d\d+) resumes) · 0 repeats dropped/).waitFor();
  await drawer.getByRole('button', { name: 'Use SSE' }).click();
  await seen(/delta.*SSE$/).first().waitFor();
  await drawer.getByRole('button', { name: 'Use a WebSocket' }).click();
  await page.locator('#chip[data-phase="live"]').waitFor();
  await drawer.getByRole('button', { name: 'Clear' }).click();
  await page.keyboard.press('Escape');
  await page.whole();
  await page.keyboard.press('Control+i');
  assert.equal(await drawer.isVisible(), false);
  await page.done();
});

test('the list is by age, and what is found is one list', async () => {
  const page = await openPage(await servers.first());
  const before = (/** @type {number} */ days) => new Date(new Date().setDate(new Date().getDate() - days));
  const data = [0, 1, 5, 20, 100].map((days) => ({ id: `00000000-0000-7000-8000-${String(days).padStart(12, '0')}`, title: `${days} days`, updated_at: before(days).toISOString(), running: [] }));
  await page.route('**/v1/conversations?*', (route) => route.fulfill({ json: { data, next_cursor: null } }));
  await page.reload();
  await page.locator('#conversations .age').nth(4).waitFor();
  const month = before(100).toLocaleDateString('en', { month: 'long', year: 'numeric' });
  assert.deepEqual(await page.locator('#conversations li').allInnerTexts(), ['Today', '0 days', 'Yesterday', '1 days', 'The last 7 days', '5 days', 'The last 30 days', '20 days', month, '100 days']);
  await page.fill('#search', 'days');
  await page.locator('#conversations .age').first().waitFor({ state: 'detached' });
  assert.equal(await page.locator('#conversations li').count(), 5);
  await page.done();
});

test('a model is chosen, kept, and what only the demo understands is suggested for it alone', async () => {
  const upstream = await Upstream.start();
  const folder = mkdtempSync(join(tmpdir(), 'lastword-config-'));
  const server = await Server.start({ env: { ...upstream.env(folder), DATABASE_URL: undefined } });
  const page = await openPage(server);
  assert.equal(await page.locator('#model').inputValue(), 'script');
  const examples = page.locator('#examples button').filter({ visible: true });
  assert.equal(await examples.count(), 3);
  await examples.first().click();
  assert.ok(!(await page.inputValue('#prompt')).includes('/demo'));
  await page.locator('#model').selectOption('demo');
  assert.equal(await examples.count(), 4);
  await page.reload();
  await page.locator('#model option').first().waitFor({ state: 'attached' });
  assert.equal(await page.locator('#model').inputValue(), 'demo');
  await examples.first().click();
  await page.fill('#prompt', '/demo tokens=3 tps=0');
  await page.keyboard.press('Enter');
  assert.equal((await server.get(`/v1/generations/${await page.whole()}`)).model, 'demo');
  assert.deepEqual(upstream.asked, []);
  await page.locator('#model').selectOption('script');
  await page.ask('say something');
  await page.whole(1);
  assert.deepEqual(upstream.asked, ['say something']);
  await page.done();
  await server.kill();
  upstream.stop();
  rmSync(folder, { recursive: true });
});
