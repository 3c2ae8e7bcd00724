import { el, icon, setText } from '../dom.js';
import { dayKey, dayName } from '../time.js';
import { isAttended } from '../marks.js';
import { createMessageRow } from './message.js';
import { createMessageMenu } from './message-menu.js';
import { createMessageKeys } from './message-keys.js';

const GROUP_GAP_MS = 5 * 60_000;
const LOAD_WITHIN_PX = 600;
const AT_END_WITHIN_PX = 60;

/** The history of a chat. Rows are kept by key, so an update touches only what has changed. */
export function renderMessageList(client, entry, { onReply, onEdit, onEscape }) {
  const { state, outbox } = client;
  const rows = new Map();
  const firstUnread = entry.chat.me.unread > 0 ? entry.chat.me.readSeq + 1 : null;
  let stickToEnd = true;
  let olderFailed = false;

  const edge = el('p', { class: 'history-edge' });
  const log = el('div', { class: 'log', role: 'log', 'aria-live': 'polite', 'aria-label': 'Messages' });
  const scroller = el('div', { class: 'scroller' }, edge, log);
  const toEndButton = el('button', { type: 'button', class: 'to-end', 'aria-label': 'Newest messages', title: 'Newest messages', hidden: true, onclick: () => toEnd() }, icon('down'));
  const element = el('div', { class: 'messages' }, scroller, toEndButton);

  const menu = createMessageMenu(client, entry, { onReply, onEdit });
  element.append(menu.element);
  const keys = createMessageKeys(log, { onReply: (id) => onReply(entry.log.byId(id)), onEscape, loadOlder });

  /** What is to be seen, in order: days, the mark of what is new, messages, and what is on its way. */
  function plan() {
    const items = [];
    let previous = null;
    for (const message of entry.log.items) {
      const newDay = !previous || dayKey(previous.createdAt) !== dayKey(message.createdAt);
      if (newDay) items.push({ key: `day:${dayKey(message.createdAt)}`, kind: 'day', text: dayName(message.createdAt) });
      const startsUnread = firstUnread !== null && message.seq >= firstUnread && (!previous || previous.seq < firstUnread);
      if (startsUnread) items.push({ key: 'unread', kind: 'unread', text: 'New messages' });
      items.push({ key: keyOf(message), kind: 'message', message, continues: !newDay && !startsUnread && continues(previous, message) });
      previous = message;
    }
    for (const item of outbox.ofChat(entry.id)) {
      const message = { ...item, kind: 'text', senderId: state.me.id, pending: item };
      items.push({ key: `own:${item.clientId}`, kind: 'message', message, continues: previous ? continues(previous, message) : false });
      previous = message;
    }
    return items;
  }

  /** One's own message keeps its row when the stored one takes the place of the one that was on its way. */
  function keyOf(message) {
    return message.senderId === state.me.id && message.clientId ? `own:${message.clientId}` : message.id;
  }

  function update() {
    const anchor = stickToEnd ? null : findAnchor();
    const items = plan();
    const keep = new Set(items.map((item) => item.key));
    for (const [key, row] of rows) {
      if (keep.has(key)) continue;
      row.element.remove();
      rows.delete(key);
    }
    let at = log.firstChild;
    for (const item of items) {
      const row = rows.get(item.key) ?? create(item);
      row.update(item);
      if (row.element === at) at = at.nextSibling;
      else log.insertBefore(row.element, at);
    }
    updateEdge(items.length);
    keys.update();
    if (stickToEnd) scroller.scrollTop = scroller.scrollHeight;
    else anchor?.restore();
    considerMore();
    considerRead();
  }

  function create(item) {
    const row = item.kind === 'message' ? createMessageRow(client, entry, { onQuote: jumpTo }) : createSeparator(item);
    rows.set(item.key, row);
    return row;
  }

  function updateEdge(count) {
    const { status, hasMoreBefore, loadingOlder } = entry.log;
    log.setAttribute('aria-busy', status === 'loading' || loadingOlder !== null);
    setText(edge, status !== 'ready' || loadingOlder ? 'Loading…' : hasMoreBefore ? '' : count ? 'The beginning of this chat' : 'No messages yet. Write the first one.');
  }

  /** Keeps what one is reading where it is while rows come and go above it. */
  function findAnchor() {
    const top = scroller.getBoundingClientRect().top;
    const row = [...log.children].find((child) => child.getBoundingClientRect().bottom > top);
    const before = row?.getBoundingClientRect().top;
    return row && { restore: () => row.isConnected && (scroller.scrollTop += row.getBoundingClientRect().top - before) };
  }

  function considerMore() {
    if (scroller.scrollTop < LOAD_WITHIN_PX && !olderFailed) loadOlder();
  }

  async function loadOlder() {
    try {
      await client.history.loadOlder(entry);
    } catch (problem) {
      if (!olderFailed) client.notify(problem.message);
      // Only a new scroll asks again, or a failure would ask for the next one without end.
      olderFailed = true;
    }
  }

  function considerRead() {
    if (!isAttended() || entry.log.status !== 'ready' || !scroller.isConnected) return;
    const last = stickToEnd ? entry.log.last?.seq : lastSeenSeq();
    if (last) client.marks.read(entry, last);
  }

  function lastSeenSeq() {
    const bottom = scroller.getBoundingClientRect().bottom;
    const seen = [...log.querySelectorAll('[data-seq]')].findLast((row) => row.getBoundingClientRect().top < bottom);
    return Number(seen?.dataset.seq);
  }

  function onScroll() {
    const rest = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    stickToEnd = rest < AT_END_WITHIN_PX;
    toEndButton.hidden = stickToEnd;
    olderFailed = false;
    considerMore();
    considerRead();
  }

  function toEnd() {
    stickToEnd = true;
    scroller.scrollTop = scroller.scrollHeight;
  }

  async function jumpTo(messageId) {
    const message = await client.history.reach(entry, messageId).catch(() => null);
    if (!message) return client.notify('That message could not be found.');
    stickToEnd = false;
    update();
    const row = log.querySelector(`[data-message-id="${CSS.escape(messageId)}"]`);
    row.scrollIntoView({ block: 'center' });
    keys.focus(row);
    row.classList.add('is-found');
    setTimeout(() => row.classList.remove('is-found'), 1_600);
  }

  function lastOwn() {
    return entry.log.items.findLast((message) => message.kind === 'text' && message.senderId === state.me.id && !message.deletedAt);
  }

  scroller.addEventListener('scroll', onScroll, { passive: true });
  log.addEventListener('click', (event) => menu.onClick(event));
  const resized = new ResizeObserver(() => stickToEnd && toEnd());
  resized.observe(scroller);
  addEventListener('focus', considerRead);
  document.addEventListener('visibilitychange', considerRead);
  const stops = ['messages', 'marks', 'users', 'members'].map((topic) => state.on(topic, update));

  return {
    element,
    update,
    toEnd,
    lastOwn,
    stop() {
      resized.disconnect();
      removeEventListener('focus', considerRead);
      document.removeEventListener('visibilitychange', considerRead);
      stops.forEach((stop) => stop());
    },
  };
}

function continues(previous, message) {
  if (previous.kind !== 'text' || message.kind !== 'text' || previous.senderId !== message.senderId) return false;
  return new Date(message.createdAt) - new Date(previous.createdAt) < GROUP_GAP_MS;
}

function createSeparator({ kind }) {
  const element = el(kind === 'day' ? 'h3' : 'p', { class: `separator ${kind}` });
  return { element, update: ({ text }) => setText(element, text) };
}
