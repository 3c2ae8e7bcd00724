import { MessageLog } from './message-log.js';

const PAGE = 50;

/** Reads history into a chat's log: where one has come to first, then older and newer pages on demand. */
export function createHistory({ state, api }) {
  const fetched = new Map();

  const ask = (entry, query) => () => api.get(`/chats/${entry.id}/messages`, { limit: PAGE, ...query });

  /** Reads the stretch about another place; it takes the place of what is here once it is there. */
  async function goTo(entry, query) {
    const log = new MessageLog();
    entry.nextLog = log;
    try {
      await log.load(ask(entry, query));
      if (entry.nextLog === log) entry.log = log;
    } finally {
      if (entry.nextLog === log) entry.nextLog = null;
      state.changed('messages');
    }
  }

  /** Resolves to whether anything came. */
  async function loadMore(entry, { loading, query, keeps }) {
    const { log } = entry;
    if (!log[loading]) {
      log[loading] = log.load(ask(entry, query), keeps).finally(() => {
        log[loading] = null;
        state.changed('messages');
      });
      state.changed('messages');
    }
    return (await log[loading]) > 0;
  }

  /** The place at which a chat is opened: its first unread message, or else the newest. */
  const opensAt = ({ chat: { me, lastSeq } }) => (me.unread > 0 ? me.readSeq + 1 : lastSeq);

  return {
    /** Lets go of what is here of a chat that is being opened, if it does not reach to where one has come to. */
    forgetElsewhere(entry) {
      if (entry.log.status === 'ready' && entry.log.last && !entry.log.has(opensAt(entry))) entry.log = new MessageLog();
    },

    /** Reads what is to be seen first, if nothing is here: the first unread messages, or the newest if there are none. */
    async open(entry) {
      if (entry.log.status !== 'empty' || entry.nextLog) return;
      await goTo(entry, entry.chat.me.unread > 0 ? { around: opensAt(entry) } : {});
    },

    async toNewest(entry) {
      if (entry.hasMoreAfter) await goTo(entry, {});
    },

    async toSeq(entry, seq) {
      if (!entry.log.has(seq)) await goTo(entry, { around: seq });
    },

    async loadOlder(entry) {
      const { log } = entry;
      if (log.items.length === 0 || !log.hasMoreBefore) return true;
      return loadMore(entry, { loading: 'loadingOlder', query: { before: log.items[0].seq }, keeps: 'oldest' });
    },

    async loadNewer(entry) {
      if (!entry.hasMoreAfter) return true;
      return loadMore(entry, { loading: 'loadingNewer', query: { after: entry.log.last?.seq ?? 0 }, keeps: 'newest' });
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

    /** Brings the message into the log, with what lies about it. */
    async reach(entry, messageId) {
      if (entry.log.byId(messageId)) return;
      const { seq } = await api.get(`/chats/${entry.id}/messages/${messageId}`);
      await goTo(entry, { around: seq });
    },
  };
}
