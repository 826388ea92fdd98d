// @ts-check
/** A shared conversation: read only, live while its answer runs. The page asks the server for no other data. */
import { Answer } from './answer.js';
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

const token = location.pathname.slice(base.length).split('/')[2] ?? '';
const address = `/v1/shared/${encodeURIComponent(token)}`;
place.of = (id) => `${base}${address}/pictures/${id}`;
const list = byId('transcript');
const scroller = new Scroller(byId('scroller'), list, byId('jump'));
// It begins where the conversation does; a reader who wants the end goes there.
scroller.let();

/** @type {Set<string>} */
const models = new Set();
/** @type {HTMLElement[]} */
let messages = [];
let question = '';
let title = '';

/** @param {string} text */
function say(text) {
  if (byId('chip-text').textContent !== text) byId('chip-text').textContent = text;
}

function about() {
  const who = [...models].join(', ');
  byId('about').textContent = `A shared conversation${who ? ` with ${who}` : ''}. You can read it, not write in it.`;
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
  const view = new AnswerView(String(place), Answer.of(message), null);
  view.render();
  return view.element;
}

/** Shows the content of the link; returns whether there is an answer to follow. */
async function load() {
  const shared = await call('GET', address);
  title = shared.title ? titled(shared.title) : 'A shared conversation';
  messages = shared.messages.map(shown);
  arrange(list, messages);
  byId('problem').replaceChildren();
  byId('ask').hidden = !question;
  about();
  name(shared.answering);
  say(shared.answering ? 'an answer is being made' : 'shared, read only');
  return shared.answering;
}

function follow() {
  const answer = new Answer();
  const view = new AnswerView('live', answer, null);
  arrange(list, [...messages, view.element]);
  let frame = 0;
  const draw = () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      view.render();
      scroller.follow();
    });
  };
  const stream = new Stream({
    base: location.origin + base,
    transport: 'sse',
    path: () => `${address}/events`,
    onState: ({ phase }) => {
      byId('chip').dataset.phase = phase;
      if (phase === 'waiting') say('reconnecting…');
      else if (phase === 'offline') say('offline');
      else if (phase === 'live') say('live');
    },
  });
  const end = () => {
    stream.close();
    byId('chip').dataset.phase = 'idle';
    // It had ended before the first event came, or was erased: the branch has it.
    if (!answer.done) return void begin();
    view.render();
    name(false);
    say('shared, read only');
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
    end,
    fail: ({ status, message }) => {
      stream.close();
      if (status === 404) return gone();
      byId('problem').replaceChildren(h('span', null, message));
    },
  });
}

async function begin() {
  try {
    if (await load()) follow();
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
