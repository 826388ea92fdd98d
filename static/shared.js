// @ts-check
/** A shared conversation: read only, live while its answer runs. The page asks the server for no other data. */
import { Answer, textOf } from './answer.js';
import { AnswerView } from './answer-view.js';
import { base } from './base.js';
import { byId, h } from './dom.js';
import { split } from './files.js';
import { place } from './pictures.js';
import { bubble } from './prompt-view.js';
import { Scroller } from './scroller.js';
import { Refused, call, drafts } from './store.js';
import { arrange } from './stretches.js';
import { Stream } from './stream.js';
import { titled } from './titles.js';

/** A server that cannot be reached is asked again after so many ms. */
const AGAIN = 3000;
/** A stream without an answer may be away for so long, in ms, before the page says so. */
const CALM = 1500;

const token = location.pathname.slice(base.length).split('/')[2] ?? '';
const address = `/v1/shared/${encodeURIComponent(token)}`;
place.of = (id) => `${base}${address}/pictures/${id}`;
const list = byId('transcript');
const scroller = new Scroller(byId('scroller'), list, byId('jump'));
// It begins where the conversation does; a reader who wants the end goes there.
scroller.let();

/** @type {Set<string>} */
const models = new Set();
/** The messages on the page, by what tells them apart: bearers of a link are told no ids. @type {Map<string, HTMLElement>} */
let known = new Map();
/** The answer that came here, until the list has it. @type {{ answer: Answer, view: AnswerView } | undefined} */
let live;
/** The end of the branch that was followed last, of a link that shows later turns. @type {string | undefined} */
let followed;
let question = '';
let title = '';

/** @param {string} text */
function say(text) {
  if (byId('chip-text').textContent !== text) byId('chip-text').textContent = text;
}

/** @param {boolean} [goesOn] whether later turns are shown */
function about(goesOn = Boolean(followed)) {
  const who = [...models].join(', ');
  byId('about').textContent = `A shared conversation${who ? ` with ${who}` : ''}. You can read it, not write in it.${goesOn ? ' What comes later appears here.' : ''}`;
}

/** @param {boolean} answering */
function name(answering) {
  byId('title').textContent = title;
  document.title = `${answering ? '● ' : ''}${title} · lastword`;
  byId('jump-text').textContent = answering ? 'Follow the answer' : 'Jump to the end';
}

/** There is no such link, or not any more: its shown content goes, too. */
function gone() {
  list.replaceChildren();
  known.clear();
  live = undefined;
  question = '';
  title = 'Nothing is shared here';
  name(false);
  say('void');
  byId('about').textContent = '';
  byId('problem').replaceChildren(h('span', null, 'This link is void, or never was one.'));
  byId('ask').hidden = true;
}

/** @param {any} message @param {number} place */
function shown(message, place) {
  if (message.role === 'user') {
    const { text, files } = split(message.content);
    question ||= text;
    return h('article', { class: 'message user' }, h('h2', { class: 'sr-only' }, 'Question'), bubble(text, files));
  }
  if (message.model) models.add(message.model);
  if (live?.answer.done && live.answer.said.text === textOf(message.content)) {
    const { element } = live.view;
    live = undefined;
    return element;
  }
  const view = new AnswerView(String(place), Answer.of(message), null);
  view.render();
  return view.element;
}

function show() {
  arrange(list, [...known.values(), ...(live ? [live.view.element] : [])]);
  scroller.follow();
}

/** Shows the content of the link. @returns {Promise<{ answering: boolean, turn?: string }>} what there is to follow */
async function load() {
  const shared = await call('GET', address);
  title = shared.title ? titled(shared.title) : 'A shared conversation';
  // What stands there already is not touched.
  known = new Map(shared.messages.map((/** @type {any} */ message, /** @type {number} */ place) => {
    const key = `${place} ${message.role} ${message.created_at}`;
    return [key, known.get(key) ?? shown(message, place)];
  }));
  live = undefined;
  show();
  byId('problem').replaceChildren();
  byId('ask').hidden = !question;
  about(Boolean(shared.turn));
  name(shared.answering);
  say(shared.answering ? 'an answer is being made' : shared.turn ? 'live, read only' : 'shared, read only');
  return shared;
}

/**
 * Follows the answer that is being made, or waits for the next turn behind `after`.
 * @param {{ answering: boolean, turn?: string }} branch @param {number} [after]
 */
function follow({ answering, turn }, after = 0) {
  const answer = new Answer();
  const view = new AnswerView('live', answer, null);
  followed = turn;
  if (answering) {
    live = { answer, view };
    show();
  }
  let frame = 0;
  const draw = () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      view.render();
      scroller.follow();
    });
  };
  /** @type {any} */
  let later;
  const state = (/** @type {import('./stream.js').State} */ { phase }) => {
    byId('chip').dataset.phase = phase;
    if (phase === 'waiting') say('reconnecting…');
    else if (phase === 'offline') say('offline');
    else if (phase === 'live') say(answering ? 'live' : 'live, read only');
  };
  const stream = new Stream({
    base: location.origin + base,
    transport: 'sse',
    path: () => `${address}/events${turn ? `?turn=${turn}` : ''}`,
    onState: (now) => {
      clearTimeout(later);
      // A stream that only waits ends with each turn: that is no news.
      if (answering || now.phase !== 'waiting') state(now);
      else later = setTimeout(() => state(now), CALM);
    },
  });
  const close = () => {
    stream.close();
    clearTimeout(later);
    byId('chip').dataset.phase = 'idle';
  };
  stream.follow(token, {
    open: () => answer.connected(),
    event: (event) => {
      answer.apply(event);
      if (event.type === 'started' && !models.has(event.model)) {
        models.add(event.model);
        about();
      }
      draw();
    },
    end: () => {
      close();
      // The branch goes on, has all of it already, or lost it.
      if (!answer.done) return void begin();
      view.render();
      name(false);
      say('shared, read only');
      if (turn) follow({ answering: false, turn }, answer.seq);
    },
    fail: ({ status, message }) => {
      close();
      if (status === 404) return gone();
      byId('problem').replaceChildren(h('span', null, message));
    },
  }, after);
}

async function begin() {
  try {
    const branch = await load();
    // The same again: this was another instance's, of a version that shows no later turns.
    if (branch.turn && branch.turn === followed) await new Promise((resolve) => setTimeout(resolve, AGAIN));
    if (branch.answering || branch.turn) follow(branch);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 404) return gone();
    byId('problem').replaceChildren(h('span', null, error.message));
    if (error.passing) setTimeout(begin, Math.max(AGAIN, error.wait));
  }
}

byId('ask').addEventListener('click', () => {
  // Text that a person began to write is not overwritten.
  if (!drafts.of(null).get()) drafts.of(null).set(question);
});
begin();
