import { el, icon, iconButton, setAttributes, setText } from '../dom.js';

/** The ways to the first unread message and to the newest one, each with how many unread ones lie there. */
export function createJumps({ onUnread, onReadAll, onEnd }) {
  const above = el('span', {});
  const toUnread = el('button', { type: 'button', class: 'to-unread', onclick: onUnread }, icon('up'), above);
  const readAll = iconButton('check', 'Mark all as read', { class: 'icon-button read-all', onclick: onReadAll });
  const unread = el('div', { class: 'unread-above', role: 'group', 'aria-label': 'Unread messages above', hidden: true }, toUnread, readAll);

  const below = el('span', { class: 'badge' });
  const toEnd = el('button', { type: 'button', class: 'to-end', hidden: true, onclick: onEnd }, icon('down'), below);

  return {
    elements: [unread, toEnd],
    show({ above: countAbove, below: countBelow, atEnd }) {
      unread.hidden = countAbove === 0;
      setText(above, `${short(countAbove)} unread`);
      setAttributes(toUnread, { 'aria-label': `Jump to first unread: ${short(countAbove)} unread above`, 'data-unread': countAbove });
      toEnd.hidden = atEnd;
      setText(below, countBelow ? short(countBelow) : '');
      const label = countBelow ? `Newest messages: ${short(countBelow)} unread below` : 'Newest messages';
      setAttributes(toEnd, { 'aria-label': label, title: label, 'data-unread': countBelow });
    },
  };
}

const short = (count) => (count > 99 ? '99+' : String(count));

/** How many unread messages lie above and below what is on screen, which is from the seq `first` to `last`. */
export function unreadAround(client, entry, { first, last }) {
  const { chat, log, hasMoreAfter } = entry;
  const { readTo, hasSeen } = client.marks;
  const next = readTo(entry) + 1;
  const isTheirs = (message) => message.kind === 'text' && message.senderId !== client.state.me.id;
  const count = (from, to) => log.between(from, to).filter(isTheirs).length;
  const unseen = (from, to) => log.between(from, to).filter((message) => isTheirs(message) && !hasSeen(entry, message.seq)).length;

  function above() {
    if (next >= first) return 0;
    if (log.has(next)) return unseen(next, first - 1);
    // Nobody has told what lies between, so it is the rest of what the server counts.
    return hasMoreAfter ? Math.min(chat.me.unread, first - next) : Math.max(0, chat.me.unread - count(first, chat.lastSeq));
  }

  function below() {
    if (!hasMoreAfter) return unseen(last + 1, chat.lastSeq);
    return Math.min(chat.lastSeq - last, Math.max(0, chat.me.unread - count(chat.me.readSeq + 1, last)));
  }

  return { above: above(), below: below() };
}
