/** All tests of the page, in one process with one browser: `node --test tests/page/run.js`; PAGE_TESTS=chat,outbox runs only these, and PAGE_AT_ONCE=1 one by one. */
import { after, describe } from 'node:test';
import { servers } from './servers.js';

const ALL = 'stream,markdown,text,shared,writing,files,pictures,odd,leaving,newcomer,weight,small,headed,facts,long,attention,lossless,chat,continue,shell,recent,outbox,look,special,everybody,plain,docs,admin,base,together';

after(async () => {
  await servers.end();
  // The remains of a failed test must not keep the run from ending.
  setTimeout(() => process.exit(), 10_000).unref();
});

// Most of a test is waiting for a model that speaks slowly.
describe('the page', { concurrency: Number(process.env.PAGE_AT_ONCE ?? 4) }, async () => {
  for (const file of (process.env.PAGE_TESTS ?? ALL).split(',')) await import(`./${file}.test.js`);
});
