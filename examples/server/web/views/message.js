import { el, iconButton, setAttributes } from '../dom.js';
import { preview, splitLinks, systemSentence } from '../text.js';
import { fullTime, timeOf } from '../time.js';
import { avatar } from './avatar.js';

/** One row of the history. `update` compares what it shows with what it is to show, and redraws only a difference. */
export function createMessageRow(client, entry, { onQuote }) {
  const element = el('article', { class: 'message', tabindex: '-1' });
  let shown = '';

  function update({ message, continues }) {
    const facts = factsOf(client, entry, message, continues);
    const signature = JSON.stringify(facts);
    if (signature === shown) return;
    shown = signature;
    setAttributes(element, {
      class: ['message', facts.kind, facts.own && 'own', facts.continues && 'continues', facts.deleted && 'is-deleted', element.classList.contains('is-found') && 'is-found'].filter(Boolean).join(' '),
      'data-message-id': message.id,
      'data-seq': message.seq,
      'data-client-id': facts.own ? message.clientId : null,
      'data-status': facts.status?.state,
    });
    const hadFocus = element !== document.activeElement && element.contains(document.activeElement);
    element.replaceChildren(...(facts.kind === 'system' ? systemContent(facts) : textContent(client, message, facts, onQuote)));
    if (hadFocus) element.focus({ preventScroll: true });
  }

  return { element, update };
}

/** Everything that the look of a row depends on. */
function factsOf({ state, people, history }, entry, message, continues) {
  const own = message.senderId === state.me.id;
  if (message.kind === 'system') return { kind: 'system', text: systemSentence(message, people.nameOrYou), at: message.createdAt };
  const quoted = message.replyTo ? history.find(entry, message.replyTo) : undefined;
  return {
    kind: 'text',
    own,
    continues,
    author: people.name(message.senderId),
    showFace: !own && entry.chat.kind === 'group',
    body: message.body,
    at: message.createdAt,
    deleted: message.deletedAt != null,
    edited: message.editedAt ?? null,
    quote: message.replyTo && { author: quoted ? people.nameOrYou(quoted.senderId) : '', text: quoted ? preview(quoted, people.nameOrYou) : 'Earlier message' },
    status: own && message.deletedAt == null ? statusOf(people, entry, message) : null,
    error: message.pending?.error,
  };
}

function statusOf(people, entry, message) {
  if (message.pending) return { state: message.pending.status === 'failed' ? 'failed' : 'sending' };
  return people.progress(entry, message.seq);
}

function systemContent({ text, at }) {
  return [el('p', { class: 'system-text' }, text, ' ', el('time', { datetime: at, title: fullTime(at) }, timeOf(at)))];
}

function textContent(client, message, facts, onQuote) {
  const author = facts.own ? 'You' : facts.author;
  const named = facts.showFace && !facts.continues;
  const bubble = el(
    'div',
    { class: 'bubble' },
    el('span', { class: named ? 'author' : 'visually-hidden' }, named ? author : `${author}: `),
    facts.quote && !facts.deleted && quoteButton(message, facts.quote, onQuote),
    bodyOf(facts),
    metaOf(facts),
  );
  return [
    facts.showFace && el('span', { class: 'face' }, facts.continues ? '' : avatar(message.senderId, facts.author)),
    bubble,
    message.pending
      ? facts.status.state === 'failed' && failedActions(client, message, facts)
      : !facts.deleted && iconButton('more', 'Message actions', { class: 'icon-button message-actions', 'aria-haspopup': 'menu', tabindex: '-1' }),
  ].filter(Boolean);
}

function quoteButton(message, { author, text }, onQuote) {
  return el(
    'button',
    { type: 'button', class: 'quote', tabindex: '-1', 'aria-label': `In reply to ${author}: ${text}`, onclick: () => onQuote(message.replyTo) },
    el('span', { class: 'quote-author' }, author),
    el('span', { class: 'quote-text' }, text),
  );
}

function bodyOf({ deleted, body }) {
  if (deleted) return el('p', { class: 'body' }, 'This message was deleted');
  return el('p', { class: 'body' }, splitLinks(body).map(({ text, url }) =>
    url ? el('a', { href: url, target: '_blank', rel: 'noopener noreferrer', tabindex: '-1' }, text) : text));
}

const STATUS = {
  sending: ['', 'Sending…'],
  failed: ['!', 'Not sent'],
  sent: ['✓', 'Sent'],
  delivered: ['✓', 'Delivered'],
  read: ['✓✓', 'Read'],
};

function metaOf({ at, edited, status }) {
  return el(
    'p',
    { class: 'meta' },
    edited && el('span', { class: 'edited', title: fullTime(edited) }, 'edited '),
    el('time', { datetime: at, title: fullTime(at) }, timeOf(at)),
    status && statusMark(status),
  );
}

function statusMark({ state, read, others }) {
  const [mark, word] = STATUS[state];
  const text = others > 1 && read > 0 && state !== 'read' ? `Read by ${read} of ${others}` : word;
  if (state === 'sending') return el('span', { class: 'status', 'data-state': state }, text);
  return el('span', { class: 'status', 'data-state': state, role: 'img', 'aria-label': text, title: text }, mark);
}

function failedActions({ outbox }, { clientId }, { error }) {
  return el(
    'p',
    { class: 'failed' },
    el('span', {}, `Not sent. ${error ?? ''} `),
    el('button', { type: 'button', class: 'link', onclick: () => outbox.retry(clientId) }, 'Try again'),
    el('button', { type: 'button', class: 'link', onclick: () => outbox.discard(clientId) }, 'Discard'),
  );
}
