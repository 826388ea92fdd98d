/** All tests of the page, in one process with one browser: `node --test tests/page/run.js`. */
import { after, describe } from 'node:test';
import { servers } from './servers.js';

after(() => servers.end());

// Most of a test is waiting for a model that speaks slowly.
describe('the page', { concurrency: 4 }, async () => {
  for (const file of ['stream', 'markdown', 'lossless', 'chat', 'everybody', 'docs', 'admin', 'together']) await import(`./${file}.test.js`);
});
