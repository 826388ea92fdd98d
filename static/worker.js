// @ts-check
/**
 * Opens the page where the server cannot be reached. It keeps the page's own files and nothing else. Requests outside
 * `/static/` that are no address of the chat page pass it by as if it were not there.
 */
/** Where the page is: `/`, or below the path that a proxy puts in front, as `/ai/`. */
const SHELL = new URL('.', self.location.href).pathname;
const FILES = `${SHELL}static/`;
const STORE = 'lastword-shell';
/** Files that the page loads later, by its own doing. */
const LATER = ['dialogs.js', 'inspector.js', 'shell.js', 'icon-answering.svg', 'icon-ready.svg'];
/** After so long, in ms, a server that says nothing is as good as away. */
const SILENCE = 4000;

/** The worker's own scope; the types of pages do not know it. @type {any} */
const worker = self;

/** Files under the id of a build never change. @param {string} path */
const isFixed = (path) => path.startsWith(FILES) && /^[0-9a-f]{16}\//.test(path.slice(FILES.length));

/** @param {string} path */
const isPage = (path) => path === SHELL || `${path}/` === SHELL || path.startsWith(`${SHELL}c/`);

/** Whether the answer is of this build: a server of another build answers with its own file. @param {string} path @param {Response} answer */
const isRight = (path, answer) => answer.ok && (!isFixed(path) || (answer.headers.get('cache-control') ?? '').includes('immutable'));

const find = async (/** @type {string} */ path) => (await caches.open(STORE)).match(path, { ignoreVary: true });

/** Keeps a page with all its files, or none of them: files of two builds do not fit together. @param {Response} page */
async function keep(page) {
  const html = await page.clone().text();
  const paths = [...html.matchAll(/"(\/[^"]+)"/g)].map(([, path]) => path).filter((path) => path.startsWith(FILES));
  const app = paths.find((path) => path.endsWith('/app.js'));
  if (!app) return;
  const wanted = new Set([...paths, ...LATER.map((name) => app.replace('app.js', name))]);
  const store = await caches.open(STORE);
  await Promise.all([...wanted].map(async (path) => {
    if (isFixed(path) && (await find(path))) return;
    const answer = await fetch(path);
    if (!isRight(path, answer)) throw new Error(`${path}: ${answer.status}`);
    await store.put(path, answer);
  }));
  await store.put(SHELL, page);
  const build = app.slice(0, -'app.js'.length);
  for (const { url } of await store.keys()) {
    const path = new URL(url).pathname;
    if (path !== SHELL && !path.startsWith(build)) await store.delete(path);
  }
}

/** The server's page while it answers, and else the kept one. @param {FetchEvent} event @typedef {any} FetchEvent */
async function page(event) {
  const kept = await find(SHELL);
  try {
    const answer = await fetch(event.request, kept ? { signal: AbortSignal.timeout(SILENCE) } : {});
    // Another build has other files.
    if (answer.ok && answer.headers.get('etag') !== kept?.headers.get('etag')) event.waitUntil(keep(answer.clone()).catch(() => {}));
    return answer.status >= 502 && kept ? kept : answer;
  } catch (error) {
    if (kept) return kept;
    throw error;
  }
}

/** @param {FetchEvent} event @param {string} path */
async function file(event, path) {
  const kept = await find(path);
  if (kept && isFixed(path)) return kept;
  try {
    const answer = await fetch(event.request);
    // Fonts and colours, which only some texts need.
    if (isRight(path, answer)) {
      const copy = answer.clone();
      event.waitUntil(caches.open(STORE).then((store) => store.put(path, copy)).catch(() => {}));
    }
    return answer.status >= 502 && kept ? kept : answer;
  } catch (error) {
    if (kept) return kept;
    throw error;
  }
}

worker.addEventListener('install', (/** @type {FetchEvent} */ event) => {
  const first = async () => {
    const answer = await fetch(SHELL, { headers: { accept: 'text/html' } });
    if (!answer.ok) throw new Error(`the page: ${answer.status}`);
    await keep(answer);
    await worker.skipWaiting();
  };
  event.waitUntil(first());
});

worker.addEventListener('activate', (/** @type {FetchEvent} */ event) => event.waitUntil(worker.clients.claim()));

worker.addEventListener('fetch', (/** @type {FetchEvent} */ event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== 'GET' || origin !== location.origin) return;
  if (request.mode === 'navigate' && isPage(pathname)) event.respondWith(page(event));
  else if (request.mode !== 'navigate' && pathname.startsWith(FILES)) event.respondWith(file(event, pathname));
});
