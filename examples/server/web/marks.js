const DELIVERED_DELAY_MS = 300;

/** Moves one's own marks: delivered as messages come in, read while the chat is in front of someone. */
export function createMarks({ state, request }) {
  const delivered = new Map();
  const toDeliver = new Set();
  const underWay = new Set();
  let timer = null;

  function sendDelivered() {
    timer = null;
    for (const chatId of toDeliver) {
      const chat = state.chats.get(chatId)?.chat;
      if (!chat || chat.lastSeq <= Math.max(chat.me.readSeq, delivered.get(chatId) ?? 0)) continue;
      const seq = chat.lastSeq;
      request('MarkDelivered', { chatId, seq }).then(() => delivered.set(chatId, seq), () => {});
    }
    toDeliver.clear();
  }

  return {
    delivered(chatId) {
      toDeliver.add(chatId);
      timer ??= setTimeout(sendDelivered, DELIVERED_DELAY_MS);
    },

    /** Moves the read mark to `seq`. One request per chat is under way at a time; the view asks again when something changed. */
    async read(entry, seq) {
      const { chat } = entry;
      if (seq <= chat.me.readSeq || underWay.has(chat.id)) return;
      underWay.add(chat.id);
      const before = { readSeq: chat.me.readSeq, unread: chat.me.unread };
      // Shown at once, so that no badge flashes up for what is being read.
      Object.assign(chat.me, { readSeq: seq, unread: seq >= chat.lastSeq ? 0 : chat.me.unread });
      state.changed('chats');
      try {
        const { readSeq, unread } = await request('MarkRead', { chatId: chat.id, seq });
        const { me, lastSeq } = entry.chat;
        if (readSeq >= me.readSeq) Object.assign(me, { readSeq, unread: readSeq >= lastSeq ? 0 : unread });
      } catch {
        // Not moved: the next look at the chat tries again.
        if (entry.chat.me.readSeq === seq) Object.assign(entry.chat.me, before);
        return;
      } finally {
        underWay.delete(chat.id);
      }
      state.changed('chats', 'marks');
    },
  };
}

/** Whether someone is looking at the page. */
export function isAttended() {
  return document.visibilityState === 'visible' && document.hasFocus();
}
