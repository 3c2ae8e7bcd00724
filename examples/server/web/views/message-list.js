import { el, setText } from '../dom.js';
import { dayKey, dayName } from '../time.js';
import { isAttended } from '../marks.js';
import { createJumps, unreadAround } from './jumps.js';
import { createMessageRow } from './message.js';
import { createMessageMenu } from './message-menu.js';
import { createMessageKeys } from './message-keys.js';
import { createScrolling } from './scrolling.js';
import { createSight } from './sight.js';
import { createUnreadLine } from './unread-line.js';

const GROUP_GAP_MS = 5 * 60_000;

/** The history of a chat. Rows are kept by key, so an update touches only what has changed. */
export function renderMessageList(client, entry, { onReply, onEdit, onEscape }) {
  const { state, outbox, marks, history } = client;
  const rows = new Map();
  const line = createUnreadLine(marks, entry);
  /** Where to go as soon as that is here, and while it is being fetched: functions that scroll there. */
  let goal = toLine;
  let fetchedGoal = null;
  let shownLog = entry.log;
  /** Whether to go to the end once there is a connection. */
  let owesEnd = false;

  const edge = el('p', { class: 'history-edge' });
  const log = el('div', { class: 'log', role: 'log', 'aria-live': 'polite', 'aria-label': 'Messages' });
  const newerEdge = el('p', { class: 'newer-edge', hidden: true }, 'Loading…');
  const scroller = el('div', { class: 'scroller' }, edge, log, newerEdge);
  const jumps = createJumps({ onUnread: toUnread, onReadAll: readAll, onEnd: () => toEnd({ focus: true }) });
  const element = el('div', { class: 'messages' }, scroller, jumps.elements);

  const menu = createMessageMenu(client, entry, { onReply, onEdit });
  element.append(menu.element);
  const keys = createMessageKeys(log, { onReply: (id) => onReply(entry.log.byId(id)), onEscape, loadOlder: () => scrolling.loadOlder(), loadNewer: () => scrolling.loadNewer(), toEnd });
  const sight = createSight(scroller, look);
  const scrolling = createScrolling(client, entry, { scroller, rows: () => log.children, onScrolled });

  /** What is to be seen, in order: days, the line above what is new, messages, and what is on its way. */
  function plan() {
    const items = [];
    let previous = null;
    for (const message of entry.log.items) {
      const newDay = !previous || dayKey(previous.createdAt) !== dayKey(message.createdAt);
      if (newDay) items.push({ key: `day:${dayKey(message.createdAt)}`, kind: 'day', text: dayName(message.createdAt) });
      const startsUnread = line.isBetween(previous, message);
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
    if (entry.log !== shownLog) changeLog();
    line.follow(isAttended() && scrolling.isAtEnd);
    const restore = goal ? null : scrolling.hold();
    place(plan());
    if (goal) reachGoal();
    else restore(line.isLit && !isAttended() ? rows.get('unread')?.element : null);
    keys.update();
    scrolling.considerMore();
    look();
  }

  /** Another stretch that nobody has asked for is a chat that was read anew, as if it had been opened. */
  function changeLog() {
    shownLog = entry.log;
    goal = fetchedGoal ?? toLine;
    if (!fetchedGoal) line.start();
  }

  function place(items) {
    const keep = new Set(items.map((item) => item.key));
    for (const [key, row] of rows) {
      if (keep.has(key)) continue;
      sight.forget(row.element);
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
    updateEdges(items.length);
  }

  function create(item) {
    const row = item.kind === 'message' ? createMessageRow(client, entry, { onQuote: jumpTo }) : createSeparator(item);
    if (item.kind === 'message') sight.watch(row.element);
    rows.set(item.key, row);
    return row;
  }

  function updateEdges(count) {
    const { status, hasMoreBefore, loadingOlder, loadingNewer } = entry.log;
    const loading = status !== 'ready' || loadingOlder !== null;
    log.setAttribute('aria-busy', loading || loadingNewer !== null || entry.nextLog !== null);
    setText(edge, loading ? 'Loading…' : hasMoreBefore ? '' : count ? 'The beginning of this chat' : 'No messages yet. Write the first one.');
    newerEdge.hidden = loadingNewer === null;
  }

  function reachGoal() {
    if (entry.log.status !== 'ready') return;
    const reach = goal;
    goal = null;
    reach();
  }

  /** Takes note of what is on screen. */
  function look() {
    if (goal || entry.log.status !== 'ready' || !scroller.isConnected) return;
    const seen = sight.seen();
    if (isAttended()) marks.seen(entry, seen);
    const touched = sight.touched();
    if (touched.length === 0) return;
    keys.update(rowOf(touched.at(-1)));
    const around = unreadAround(client, entry, { first: touched[0], last: seen.at(-1) ?? touched.at(-1) });
    jumps.show({ ...around, atEnd: scrolling.isAtEnd && !entry.hasMoreAfter });
    if (around.above > 0 && line.takeUp()) state.changed('messages');
  }

  function onScrolled({ byHand }) {
    if (byHand) owesEnd = false;
    look();
  }

  function toLine() {
    const row = rows.get('unread')?.element;
    if (row) scrolling.toRow(row);
    else scrolling.toEnd();
  }

  /** Goes where `reach` scrolls to, once `load` has brought it here. Resolves to whether that worked. */
  async function go(load, reach) {
    fetchedGoal = reach;
    try {
      await load();
      if (fetchedGoal === reach) goal = reach;
      update();
      return true;
    } catch (problem) {
      client.notify(problem.message);
      return false;
    } finally {
      if (fetchedGoal === reach) fetchedGoal = null;
    }
  }

  async function toUnread() {
    const seq = line.moveToUnread();
    if (await go(() => history.toSeq(entry, seq), toLine)) focusRow(seq);
  }

  async function toEnd({ focus = false } = {}) {
    owesEnd = !(await go(() => history.toNewest(entry), scrolling.toEnd));
    // What one has written waits below what is here.
    if (owesEnd) scrolling.toEnd();
    else if (focus) focusRow(entry.log.last?.seq);
  }

  function readAll() {
    marks.readAll(entry);
    look();
    focusRow(sight.touched().at(-1));
  }

  async function jumpTo(messageId) {
    const row = () => log.querySelector(`[data-message-id="${CSS.escape(messageId)}"]`);
    const found = await go(() => history.reach(entry, messageId), () => row() && scrolling.toMiddle(row()));
    if (!found || !row()) return;
    keys.focus(row());
    row().classList.add('is-found');
    setTimeout(() => row()?.classList.remove('is-found'), 1_600);
  }

  const rowOf = (seq) => log.querySelector(`[data-seq="${seq}"]`);

  function focusRow(seq) {
    const row = rowOf(seq);
    if (row) keys.focus(row);
  }

  function lastOwn() {
    return entry.log.items.findLast((message) => message.kind === 'text' && message.senderId === state.me.id && !message.deletedAt);
  }

  function onConnection() {
    if (state.connection.phase !== 'online') return;
    scrolling.tryAgain();
    if (owesEnd) toEnd();
  }

  log.addEventListener('click', (event) => menu.onClick(event));
  addEventListener('focus', look);
  document.addEventListener('visibilitychange', look);
  // Of a dialog; it does not bubble.
  document.addEventListener('close', look, true);
  const stops = [
    ...['messages', 'marks', 'users', 'members'].map((topic) => state.on(topic, update)),
    state.on('chats', look),
    state.on('connection', onConnection),
  ];

  return {
    element,
    update,
    lastOwn,
    /** One has written something, so all before it is read. */
    sent() {
      line.clear();
      toEnd();
    },
    stop() {
      sight.stop();
      scrolling.stop();
      removeEventListener('focus', look);
      document.removeEventListener('visibilitychange', look);
      document.removeEventListener('close', look, true);
      stops.forEach((stop) => stop());
    },
  };
}

function continues(previous, message) {
  if (previous.kind !== 'text' || message.kind !== 'text' || previous.senderId !== message.senderId) return false;
  return new Date(message.createdAt) - new Date(previous.createdAt) < GROUP_GAP_MS;
}

function createSeparator({ kind, text: label }) {
  const element = kind === 'day' ? el('h3', { class: 'separator day' }) : el('div', { class: `separator ${kind}`, role: 'separator', 'aria-label': label });
  return { element, update: ({ text }) => setText(element, text) };
}
