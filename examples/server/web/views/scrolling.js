const LOAD_WITHIN_PX = 600;
const AT_END_WITHIN_PX = 60;
const LIMIT_MARGIN_PX = 12;
/** What is left above a row that one is led to, as a part of the view's height. */
const ABOVE = 0.2;

/** The place of the view in a history: it follows the end, or stays with what one reads, and asks for more near both edges. */
export function createScrolling(client, entry, { scroller, rows, onScrolled }) {
  let isAtEnd = true;
  /** An edge at which nothing came; only a new scroll asks there again, or a failure would ask without end. */
  const given = { loadOlder: false, loadNewer: false };

  const rest = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;

  function onScroll() {
    const near = rest() < AT_END_WITHIN_PX;
    // The end of what is here is not the end of the chat, unless more of it has only just come.
    setAtEnd(near && (isAtEnd || !entry.hasMoreAfter));
    tryAgain();
    considerMore();
    onScrolled({ byHand: !near });
  }

  function setAtEnd(value) {
    isAtEnd = value;
    entry.log.keeps = value ? 'newest' : 'oldest';
  }

  function tryAgain() {
    given.loadOlder = false;
    given.loadNewer = false;
  }

  function considerMore() {
    if (entry.log.status !== 'ready' || entry.nextLog) return;
    if (scroller.scrollTop < LOAD_WITHIN_PX) ask('loadOlder');
    if (rest() < LOAD_WITHIN_PX) ask('loadNewer');
  }

  async function ask(which) {
    if (given[which]) return;
    try {
      given[which] = !(await client.history[which](entry));
    } catch (problem) {
      if (!given[which]) client.notify(problem.message);
      given[which] = true;
    }
  }

  function toEnd() {
    scroller.scrollTop = scroller.scrollHeight;
    setAtEnd(!entry.hasMoreAfter);
  }

  /** Follows the end, but not past a row that is to stay in sight. */
  function follow(limit) {
    const before = scroller.scrollTop;
    scroller.scrollTop = scroller.scrollHeight;
    if (!limit) return;
    const hidden = scroller.getBoundingClientRect().top + LIMIT_MARGIN_PX - limit.getBoundingClientRect().top;
    if (hidden > 0) scroller.scrollTop = Math.max(before, scroller.scrollTop - hidden);
    setAtEnd(rest() < AT_END_WITHIN_PX);
  }

  function moveTo(row, offset) {
    scroller.scrollTop += row.getBoundingClientRect().top - scroller.getBoundingClientRect().top - offset;
    setAtEnd(rest() < AT_END_WITHIN_PX && !entry.hasMoreAfter);
  }

  /** A message that is at the top of the view. */
  function topRow() {
    const { top } = scroller.getBoundingClientRect();
    return [...rows()].find((row) => row.tagName === 'ARTICLE' && row.getBoundingClientRect().bottom > top);
  }

  scroller.addEventListener('scroll', onScroll, { passive: true });
  const resized = new ResizeObserver(() => isAtEnd && follow());
  resized.observe(scroller);

  return {
    considerMore,
    loadOlder: () => ask('loadOlder'),
    loadNewer: () => ask('loadNewer'),
    tryAgain,
    toEnd,
    toRow: (row) => moveTo(row, scroller.clientHeight * ABOVE),
    toMiddle: (row) => moveTo(row, (scroller.clientHeight - row.offsetHeight) / 2),

    /** Notes what one sees before rows come and go. Returns what brings it back after that. */
    hold() {
      if (isAtEnd) return follow;
      const row = topRow();
      const before = row?.getBoundingClientRect().top;
      return () => {
        if (row?.isConnected) scroller.scrollTop += row.getBoundingClientRect().top - before;
      };
    },

    get isAtEnd() {
      return isAtEnd;
    },

    stop() {
      resized.disconnect();
      entry.log.keeps = 'newest';
    },
  };
}
