import { newClientId } from './client-id.js';

/**
 * Messages on their way to the server. They are kept in this browser until the server has stored them, and are sent again with
 * the same client id after any loss, so a message is neither lost nor doubled. Each chat sends one at a time: order stays.
 */
export function createOutbox({ state, send, onStored }) {
  const prefix = `messenger.outbox.${state.me.id}.`;
  const items = restore(prefix);

  function keep(item) {
    try {
      localStorage.setItem(prefix + item.clientId, JSON.stringify({ ...item, status: item.status === 'failed' ? 'failed' : 'waiting' }));
    } catch {
      // A full storage costs only the survival of a reload.
    }
  }

  function remove(clientId) {
    const at = items.findIndex((item) => item.clientId === clientId);
    if (at < 0) return;
    items.splice(at, 1);
    localStorage.removeItem(prefix + clientId);
    state.changed('messages');
  }

  function flush() {
    for (const chatId of new Set(items.map((item) => item.chatId))) flushChat(chatId);
  }

  async function flushChat(chatId) {
    const ofChat = items.filter((item) => item.chatId === chatId);
    const next = ofChat.find((item) => item.status === 'waiting');
    if (!next || ofChat.some((item) => item.status === 'sending')) return;
    next.status = 'sending';
    try {
      const { clientId, body, replyTo } = next;
      onStored(await send({ chatId, clientId, body, replyTo }));
      remove(clientId);
    } catch (problem) {
      if (problem.code === 'network') return void (next.status = 'waiting');
      if (problem.isTransient) return retryLater(next, problem.waitMs);
      Object.assign(next, { status: 'failed', error: problem.message });
      keep(next);
      state.changed('messages');
    }
    flushChat(chatId);
  }

  function retryLater(item, ms) {
    item.status = 'waiting';
    setTimeout(flush, ms);
  }

  return {
    flush,
    ofChat: (chatId) => items.filter((item) => item.chatId === chatId),

    add(chatId, body, replyTo) {
      const item = { clientId: newClientId(), chatId, body, replyTo, createdAt: new Date().toISOString(), status: 'waiting' };
      items.push(item);
      keep(item);
      state.changed('messages');
      flushChat(chatId);
    },

    retry(clientId) {
      const item = items.find((candidate) => candidate.clientId === clientId);
      if (!item) return;
      item.status = 'waiting';
      keep(item);
      state.changed('messages');
      flushChat(item.chatId);
    },

    discard: remove,

    /** A stored message that is one of ours needs no answer any more, and no second sending. */
    settle(message) {
      if (message.senderId === state.me.id && message.clientId) remove(message.clientId);
    },

    dropChat(chatId) {
      items.filter((item) => item.chatId === chatId).forEach((item) => remove(item.clientId));
    },

    clear() {
      [...items].forEach((item) => remove(item.clientId));
    },
  };
}

function restore(prefix) {
  return Object.keys(localStorage)
    .filter((key) => key.startsWith(prefix))
    .map((key) => JSON.parse(localStorage.getItem(key)))
    .sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
}
