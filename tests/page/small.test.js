/** Small things that somebody stumbled over. */
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Server, openPage } from './harness.js';
import { servers } from './servers.js';

test('on a phone no field makes the page zoom, and the model is chosen in the page’s own look', async () => {
  const page = await openPage(await servers.first(), { viewport: { width: 390, height: 700 }, hasTouch: true, isMobile: true });
  await page.getByRole('button', { name: 'Settings' }).click();
  await page.getByRole('dialog').waitFor();
  const fields = await page.locator('textarea, select, input:not([type="checkbox"], [type="file"], [type="range"])').evaluateAll((all) => all.map((field) => [field.id || field.name || field.tagName, parseFloat(getComputedStyle(field).fontSize)]));
  assert.ok(fields.length > 5, JSON.stringify(fields));
  // iOS zooms in on a field that is smaller, and never out again.
  assert.deepEqual(fields.filter(([, size]) => size < 16), []);
  assert.equal(await page.locator('#model').evaluate((model) => getComputedStyle(model).appearance), 'none');
  await page.done();
});

test('a model’s server that is down is told from this one', async () => {
  const config = join(mkdtempSync(join(tmpdir(), 'lastword-small-')), 'lastword.toml');
  // Nobody listens at port 9.
  writeFileSync(config, 'default_model = "down"\n[[models]]\nname = "down"\nprovider = "openai"\nbase_url = "http://127.0.0.1:9/v1"\nmax_attempts = 1\n');
  const server = await Server.start({ env: { LASTWORD_CONFIG: config } });
  const page = await openPage(server);
  await page.ask('hi');
  await page.locator('.ending', { hasText: 'the model’s server cannot be reached; this server is well' }).waitFor();
  await page.done();
  await server.kill();
});

test('what goes is red and what comes is green', async () => {
  const page = await openPage(await servers.first());
  const [red, green] = await page.evaluate(() => ['deletion', 'addition'].map((name) => {
    const span = document.createElement('span');
    span.className = `hl-${name}`;
    document.body.append(span);
    return getComputedStyle(span).color.match(/\d+/g)?.map(Number) ?? [];
  }));
  assert.ok(red[0] > red[1] && red[0] > red[2], `${red}`);
  assert.ok(green[1] > green[0] && green[1] > green[2], `${green}`);
  await page.done();
});
