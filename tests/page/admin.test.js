/** The operator's page: live figures, a timeline, a cancel; and what happens without the scope. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { audit } from './axe.js';
import { Server, openPage } from './harness.js';
import { servers } from './servers.js';

const open = (server, options = {}) => openPage(server, { path: '/admin', ready: '#figures dd', ...options });

for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
  test(`an operator sees what runs, its events over time, and cancels it, ${colorScheme}`, async () => {
    const server = await servers.first();
    const { id } = await server.post('/v1/generations', { prompt: '/demo tokens=1000000 tps=40 ttft_ms=1200' });
    const page = await open(server, { colorScheme });
    const row = page.locator(`#generations tr[data-id="${id}"]`);
    await row.getByText('running').waitFor();
    await page.locator('#instances').getByText('(this one)').waitFor();
    await page.locator('#instances [data-is="alive"]').first().waitFor();
    await page.locator('#figures > div', { hasText: 'tokens/s stored' }).filter({ hasNot: page.locator('dd', { hasText: /^0$/ }) }).waitFor();
    await row.getByRole('button', { name: `${id.slice(-8)}: timeline` }).click();
    // It grows while one looks, and its first gap is the wait for the first token.
    await page.waitForFunction(() => Number(/([\d,]+) of/.exec(document.querySelector('#timeline p')?.textContent ?? '')?.[1]?.replace(',', '')) > 20);
    await page.locator('#gaps', { hasText: /longest: 1\.\d s before 2/ }).waitFor();
    assert.equal(await page.locator('#timeline svg.chart').count(), 2);
    assert.match(await page.locator('#timeline .chart .tick').getAttribute('d'), /M[\d.]+ 18v24/);
    await audit(page, 'operator');
    await row.getByRole('button', { name: `Cancel ${id}` }).click();
    await page.locator('#said', { hasText: /cancelled at event \d+/ }).waitFor();
    await row.waitFor({ state: 'detached' });
    assert.equal((await server.get(`/v1/generations/${id}`)).status, 'cancelled');
    await page.done();
  });
}

test('an operator finds any generation by its id, on a phone too', async () => {
  const server = await servers.first();
  const { id } = await server.post('/v1/generations', { prompt: '/demo tokens=30 tps=0 fail_at=9' });
  const view = await server.view(id);
  const page = await open(server, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  await page.getByLabel('A generation’s id').fill(id);
  await page.keyboard.press('Enter');
  await page.locator('#timeline', { hasText: `${view.last_seq} done at` }).waitFor();
  await audit(page, 'operator, phone');
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${wide} px too wide`);
  await page.getByLabel('A generation’s id').fill('nonsense');
  await page.keyboard.press('Enter');
  await page.getByText('There is no generation of that id.').waitFor();
  await page.done();
});

test('since when an instance runs, what no reader was there to measure, and that there is more beside', async () => {
  const env = { DATABASE_URL: undefined };
  let server = await Server.start({ env });
  const since = async () => (await server.get('/v1/admin/overview')).fleet.instances[0].started_at;
  const first = await since();
  const page = await open(server, { viewport: { width: 360, height: 740 } });
  await page.locator('#figures > div', { hasText: 'delivery lag, p50' }).locator('dd', { hasText: 'no reader yet' }).waitFor();
  const edge = await page.locator('.scroll', { has: page.locator('#instances') }).evaluate((node) => [node.scrollWidth > node.clientWidth, getComputedStyle(node).backgroundAttachment]);
  assert.deepEqual(edge, [true, 'local, local, scroll, scroll'], 'a shadow, where it goes on');
  await page.done();
  await server.kill({ keep: true });
  server = await Server.start({ env, port: server.port, dir: server.dir });
  assert.ok((await since()) > first, 'this process, not the first one of its data');
  await server.kill();
});

test('the operator’s page asks for a key, and says which scope it lacks', async () => {
  const server = await Server.start({ keys: [['--name', 'reader'], ['--name', 'ops', '--scope', 'admin']] });
  for (const [key, ends] of [[server.keys[0], 'Your key has not the scope “admin”'], [server.keys[1], 'Nothing runs.']]) {
    const page = await open(server, { ready: 'dialog' });
    await page.getByLabel('API key').fill(key);
    await page.keyboard.press('Enter');
    await page.getByText(ends).waitFor();
    await page.done();
  }
  await server.kill();
});
