/**
 * Movement by keyboard in the history: it is one stop for Tab, and the arrow keys go from message to message, so a long history
 * doesn't stand between the chat list and the field to write in.
 */
export function createMessageKeys(log, { onReply, onEscape, loadOlder, loadNewer, toEnd }) {
  let current = null;

  function makeCurrent(row) {
    if (current === row) return;
    if (current) setReachable(current, false);
    current = row;
    if (row) setReachable(row, true);
  }

  function setReachable(row, reachable) {
    row.tabIndex = reachable ? 0 : -1;
    for (const inner of row.querySelectorAll('button, a')) inner.tabIndex = reachable ? 0 : -1;
  }

  async function move(event, row) {
    const rows = [...log.querySelectorAll('article')];
    const at = rows.indexOf(row);
    if (event.key === 'ArrowUp' && at === 0) await loadOlder();
    if (event.key === 'ArrowDown' && at === rows.length - 1) await loadNewer();
    if (event.key === 'End') return toEnd({ focus: true });
    const target = {
      ArrowUp: () => (at === 0 ? previousArticle(row) : rows[at - 1]),
      ArrowDown: () => rows[at + 1] ?? nextArticle(row),
      Home: () => rows[0],
    }[event.key]();
    target?.focus();
    target?.scrollIntoView({ block: 'nearest' });
  }

  function previousArticle(row) {
    let before = row.previousElementSibling;
    while (before && before.tagName !== 'ARTICLE') before = before.previousElementSibling;
    return before;
  }

  function onKey(event) {
    const row = event.target.closest('article');
    if (!row || event.target.closest('[role=menu]')) return;
    if (['ArrowUp', 'ArrowDown', 'Home', 'End'].includes(event.key)) {
      event.preventDefault();
      move(event, row);
    } else if (event.target !== row) {
      return;
    } else if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      row.querySelector('.message-actions')?.click();
    } else if (event.key.toLowerCase() === 'r' && !event.ctrlKey && !event.metaKey && row.querySelector('.message-actions')) {
      event.preventDefault();
      onReply(row.dataset.messageId);
    } else if (event.key === 'Escape') {
      event.preventDefault();
      onEscape();
    }
  }

  log.addEventListener('keydown', onKey);
  log.addEventListener('focusin', (event) => makeCurrent(event.target.closest('article')));

  return {
    focus(row) {
      makeCurrent(row);
      row.focus({ preventScroll: true });
    },
    /** After a change: the last message on screen is where Tab comes in, unless someone is reading another one. */
    update(last) {
      if (current?.isConnected && log.contains(document.activeElement)) return setReachable(current, true);
      makeCurrent(last ?? [...log.querySelectorAll('article')].at(-1) ?? null);
      if (current) setReachable(current, true);
    },
  };
}
