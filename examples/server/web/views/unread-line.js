/**
 * Where the line above the new messages stands. It stays where it is while one reads, and moves on when something new comes that
 * one does not see, after all was read.
 */
export function createUnreadLine(marks, entry) {
  let seq = null;
  /** Whether all was read since the line was placed. */
  let isDone = true;

  const isAllRead = () => entry.chat.me.unread === 0 || marks.readTo(entry) >= entry.chat.lastSeq;

  function moveToUnread() {
    seq = marks.readTo(entry) + 1;
    isDone = false;
    return seq;
  }

  function start() {
    seq = null;
    isDone = true;
    if (!isAllRead()) moveToUnread();
  }

  start();
  return {
    start,
    moveToUnread,
    /** There is none until something comes after all was read. */
    clear() {
      seq = null;
      isDone = false;
    },

    /** Whether it is above what is not read yet. */
    get isLit() {
      return seq !== null && !isDone;
    },

    isBetween: (previous, message) => seq !== null && message.seq >= seq && (!previous || previous.seq < seq),

    /** Something may have come or been read. What comes before the eyes of someone needs no line. */
    follow(isWatched) {
      if (isAllRead()) isDone = true;
      else if (isDone && !isWatched) moveToUnread();
    },

    /** Something went past above without being seen. Returns whether the line has moved there. */
    takeUp() {
      if (!isDone) return false;
      moveToUnread();
      return true;
    },
  };
}
