const MAX_PER_REQUEST = 200;

/** Watches the presence of the people who are on screen: the other sides of direct chats and the members of the open chat. */
export function createPresence({ state, request }) {
  let watched = new Set();

  async function watch(userIds) {
    for (let at = 0; at < userIds.length; at += MAX_PER_REQUEST) {
      const { items } = toList(await request('WatchPresence', { userIds: userIds.slice(at, at + MAX_PER_REQUEST) }));
      for (const presence of items) state.presence.set(presence.userId, presence);
    }
    state.changed('presence');
  }

  function wanted() {
    const peers = [...state.chats.values()].map((entry) => entry.chat.peer?.id);
    const members = state.openChat?.members?.keys() ?? [];
    return new Set([...peers, ...members].filter((id) => id && id !== state.me.id));
  }

  return {
    update() {
      const next = wanted();
      const added = [...next].filter((id) => !watched.has(id));
      const removed = [...watched].filter((id) => !next.has(id));
      watched = next;
      if (added.length) watch(added).catch(() => added.forEach((id) => watched.delete(id)));
      if (removed.length) request('UnwatchPresence', { userIds: removed.slice(0, MAX_PER_REQUEST) }).catch(() => {});
    },
    /** Without a connection nobody's presence is known. */
    forget() {
      state.presence.clear();
      state.changed('presence');
    },
    /** A new connection watches nobody yet. */
    restart() {
      watched = new Set();
      this.update();
    },
  };
}

const toList = (result) => (Array.isArray(result) ? { items: result } : result);
