import { MessageLog } from './message-log.js';

const PAGE = 50;

/** Reads history into a chat's log: the newest page first, then older pages on demand. */
export function createHistory({ state, api }) {
  const fetched = new Map();

  /** Events that come while a page is on its way are put into the same log, so none falls between the two. */
  async function load(entry, log, query) {
    const { items, hasMoreBefore } = await api.get(`/chats/${entry.id}/messages`, { limit: PAGE, ...query });
    if (entry.log !== log) return;
    items.forEach((message) => log.put(message));
    log.hasMoreBefore = hasMoreBefore;
  }

  return {
    async open(entry) {
      const { log } = entry;
      if (log.status !== 'empty') return;
      log.status = 'loading';
      try {
        await load(entry, log, {});
        log.status = 'ready';
      } catch (problem) {
        entry.log = new MessageLog();
        throw problem;
      } finally {
        state.changed('messages');
      }
    },

    async loadOlder(entry, limit = PAGE) {
      const { log } = entry;
      if (log.status !== 'ready' || !log.hasMoreBefore || log.items.length === 0) return;
      if (log.loadingOlder) return log.loadingOlder;
      log.loadingOlder = load(entry, log, { before: log.items[0].seq, limit }).finally(() => {
        log.loadingOlder = null;
        state.changed('messages');
      });
      state.changed('messages');
      return log.loadingOlder;
    },

    /** A message that may lie outside of the log, for quotes. Null until it is known, or if it can't be read. */
    find(entry, messageId) {
      const known = entry.log.byId(messageId) ?? fetched.get(messageId);
      if (known === undefined) {
        fetched.set(messageId, null);
        api.get(`/chats/${entry.id}/messages/${messageId}`).then(
          (message) => {
            fetched.set(messageId, message);
            state.changed('messages');
          },
          () => {},
        );
      }
      return known ?? null;
    },

    /** Loads older pages until the message is in the log. */
    async reach(entry, messageId) {
      while (!entry.log.byId(messageId) && entry.log.hasMoreBefore) await this.loadOlder(entry, 200);
      return entry.log.byId(messageId);
    },
  };
}
