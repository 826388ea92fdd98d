// @ts-check
/** The operator's page: what runs, where, how fast; one generation's events over time; a cancel. Never what is said. */
import { base } from './base.js';
import { byId, h } from './dom.js';
import { events } from './sse.js';
import { Refused, call } from './store.js';
import { span, timeline } from './timeline.js';

/** @typedef {{ id: string, started_at: string, lease_left_ms: number, leaving: boolean, generations: number }} Instance */
/** @typedef {{ id: string, tenant: string, status: string, model: string, provider: string, owner: string, epoch: number, created_at: string }} Unfinished */
/** @typedef {{ at: string, version: string, instance: string, here: any, fleet: { instances: Instance[], unfinished: Record<string, number>, generations: Unfinished[] } | null }} Overview */

/** Without data for so long, in ms, the connection is dead. A picture comes each second. */
const SILENCE = 10_000;
/** Full jitter below a limit that doubles, in ms. */
const [FIRST_PAUSE, LONGEST_PAUSE] = [250, 15_000];
/** Events that are drawn: more would be one black block. */
const DRAWN = 2000;

/** @type {{ id: string, moments: import('./timeline.js').Moment[], ended: boolean, asking: boolean } | null} */
let watched = null;
/** @type {Overview | null} */
let seen = null;

/** @param {string} text @param {string} phase */
function chip(text, phase) {
  byId('chip').dataset.phase = phase;
  if (byId('chip-text').textContent !== text) byId('chip-text').textContent = text;
}

/** @param {unknown} error */
function problem(error) {
  const text = error instanceof Refused && error.code === 'insufficient_scope' ? 'Your key has not the scope “admin”: lastword keys create --scope admin' : error instanceof Error ? error.message : String(error ?? '');
  byId('problem').replaceChildren(...(text ? [h('span', null, text), h('button', { type: 'button', class: 'link', onclick: () => problem('') }, 'Dismiss')] : []));
}

const short = (/** @type {string} */ id) => h('code', { title: id }, id.slice(-8));
const whole = (/** @type {number} */ n) => Math.round(n).toLocaleString('en');
const NONE = 'no reader yet';
/** The server counts by powers of two: this much at most. @param {number | null} ms */
const lag = (ms) => (ms === null ? NONE : `≤ ${ms < 1 ? `${ms.toFixed(2)} ms` : span(ms)}`);

/** Replaces rows in place, so that a focus or a selection in the table survives. @param {string} table @param {[string, (Node | string)[]][]} rows */
function fill(table, rows) {
  const body = byId(table).querySelector('tbody');
  if (!body) return;
  const old = new Map([...body.rows].map((row) => [row.dataset.id, row]));
  const wanted = rows.map(([id, cells]) => {
    const row = old.get(id) ?? h('tr', { 'data-id': id }, cells.map((_, i) => (i ? h('td') : h('th', { scope: 'row' }))));
    cells.forEach((cell, i) => {
      const place = row.cells[i];
      const said = typeof cell === 'string' ? cell : cell.textContent;
      if (!place.firstChild || place.textContent !== said) place.replaceChildren(cell);
    });
    return row;
  });
  for (const row of [...body.rows]) if (!wanted.includes(row)) row.remove();
  wanted.forEach((row, i) => body.rows[i] !== row && body.insertBefore(row, body.rows[i] ?? null));
}

/** @param {Overview} overview */
function show(overview) {
  seen = overview;
  const { here, fleet } = overview;
  const now = Date.parse(overview.at);
  const ended = Object.entries(here.ended).map(([status, n]) => `${whole(n)} ${status}`).join(' · ');
  const unfinished = fleet?.unfinished ?? {};
  const figures = {
    running: whole(unfinished.running ?? 0), queued: whole(unfinished.queued ?? 0), cancelling: whole(unfinished.cancelling ?? 0),
    'readers here': whole(here.readers), 'sockets here': whole(here.sockets),
    'tokens/s stored here': whole(here.appended_per_s), 'events/s read here': whole(here.delivered_per_s),
    'delivery lag, p50': lag(here.lag_p50_ms), 'delivery lag, p99': lag(here.lag_p99_ms),
  };
  byId('figures').replaceChildren(...Object.entries(figures).map(([name, value]) => h('div', null, h('dt', null, name), h('dd', { class: value === NONE ? 'none' : null }, value))));
  byId('figures').title = `Ended here since the start: ${ended}`;
  if (!fleet) return problem('The log does not answer: only this process is shown.');
  fill('instances', fleet.instances.map((instance) => {
    const state = instance.lease_left_ms <= 0 ? 'gone' : instance.leaving ? 'leaving' : 'alive';
    const name = h('span', null, short(instance.id), instance.id === overview.instance ? ' (this one)' : '');
    const lease = state === 'gone' ? `ended ${span(-instance.lease_left_ms)} ago` : `${span(instance.lease_left_ms)} left`;
    return [instance.id, [name, h('span', { class: 'state', 'data-is': state }, state), lease, whole(instance.generations), new Date(instance.started_at).toLocaleString('en')]];
  }));
  fill('generations', fleet.generations.map((g) => [g.id, [
    h('button', { type: 'button', class: 'link', 'aria-label': `${g.id.slice(-8)}: timeline`, onclick: () => watch(g.id) }, short(g.id)),
    g.tenant, g.status, g.model, short(g.owner), span(now - Date.parse(g.created_at)),
    h('button', { type: 'button', class: 'link danger', 'aria-label': `Cancel ${g.id}`, onclick: () => cancel(g.id) }, 'Cancel'),
  ]]));
  byId('none').hidden = fleet.generations.length > 0;
  mark();
  refresh();
}

function mark() {
  for (const row of document.querySelectorAll('#generations tbody tr')) {
    const current = watched !== null && /** @type {HTMLElement} */ (row).dataset.id === watched.id;
    if (current) row.setAttribute('aria-current', 'true');
    else row.removeAttribute('aria-current');
  }
}

/** @param {string} id */
async function watch(id) {
  watched = { id, moments: [], ended: false, asking: false };
  history.replaceState(null, '', `#${id}`);
  mark();
  if (await refresh()) byId('timeline').scrollIntoView({ block: 'nearest' });
}

/** Asks for the new events of the watched generation. */
async function refresh() {
  const mine = watched;
  if (!mine || mine.ended || mine.asking) return false;
  mine.asking = true;
  try {
    const last = mine.moments.at(-1)?.seq;
    const answer = await call('GET', `/v1/admin/generations/${encodeURIComponent(mine.id)}/timeline${last ? `?after=${last}` : ''}`);
    if (mine !== watched) return false;
    mine.moments = [...mine.moments, ...answer.data].slice(-DRAWN);
    mine.ended = answer.data.at(-1)?.type === 'done' || (!answer.data.length && !['queued', 'running', 'cancelling'].includes(answer.status));
    if (answer.data.length || !last) draw(answer, mine.moments);
    return true;
  } catch (error) {
    if (mine === watched) watched = null;
    problem(error instanceof Refused && error.status === 404 ? 'There is no generation of that id.' : error);
    return false;
  } finally {
    mine.asking = false;
  }
}

/** @param {any} generation @param {import('./timeline.js').Moment[]} moments */
function draw(generation, moments) {
  const section = byId('timeline');
  section.hidden = false;
  section.replaceChildren(
    h('h2', { id: 'timeline-title' }, 'Timeline of ', h('code', null, generation.id)),
    h('p', { class: 'quiet' }, [generation.status, generation.model, `tenant ${generation.tenant}`, `${whole(moments.length)} of ${whole(generation.last_seq)} events`].join(' · ')),
    ...timeline(moments));
}

/** @param {string} id */
async function cancel(id) {
  try {
    const receipt = await call('POST', `/v1/admin/generations/${id}/cancel`, {});
    byId('said').textContent = receipt.cancelled
      ? `${id} is cancelled at event ${whole(receipt.last_seq)}: ${whole(receipt.usage?.output_tokens ?? 0)} tokens were used.`
      : `${id} is ${receipt.status}.`;
  } catch (error) {
    problem(error);
  }
}

/** Reads pictures until the connection ends. */
async function listen() {
  const abort = new AbortController();
  let timer = setTimeout(() => abort.abort(), SILENCE);
  const response = await fetch(`${base}/v1/admin/events`, { headers: { accept: 'text/event-stream' }, cache: 'no-store', signal: abort.signal });
  if (!response.ok || !response.body) {
    clearTimeout(timer);
    throw new Refused(response.status, await response.json().catch(() => ({})), 0);
  }
  let first = true;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => abort.abort(), SILENCE);
  };
  for await (const overview of events(response.body, alive)) {
    if (first) problem('');
    first = false;
    chip('live', 'live');
    show(/** @type {any} */ (overview));
  }
  clearTimeout(timer);
}

async function run() {
  for (let tries = 0; ; tries += 1) {
    const before = seen;
    try {
      await listen();
    } catch (error) {
      if (error instanceof Refused && error.status === 401) {
        const { signIn: ask } = await import('./dialogs.js');
        if (!(await ask())) return chip('signed out', 'stopped');
        tries = 0;
        continue;
      }
      if (error instanceof Refused && error.status === 403) {
        chip('not allowed', 'stopped');
        return problem(error);
      }
    }
    if (seen !== before) tries = 0;
    chip('reconnecting…', 'waiting');
    await new Promise((resolve) => setTimeout(resolve, Math.random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** tries)));
  }
}

byId('find').addEventListener('submit', (event) => {
  event.preventDefault();
  const id = byId('wanted', HTMLInputElement).value.trim();
  if (id) watch(id);
});
if (location.hash.length > 1) watch(location.hash.slice(1));
run();
