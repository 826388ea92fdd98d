/** Without the libraries, where they do not arrive: the page works, with plain text. `scripts/bare` does it with a build that has none. */
import { test } from 'node:test';
import { openPage } from './harness.js';
import { works } from './plain.js';
import { servers } from './servers.js';

test('libraries that do not arrive: the page works, with plain text', async () => {
  const server = await servers.first();
  const page = await openPage(server, { path: '/docs', ready: 'h1' });
  await page.context().route('**/vendor/**', (route) => route.fulfill({ status: 404, body: '' }));
  await page.goto(server.base);
  await works(page, server);
});
