import { createApi } from './api.js';
import { createConnection } from './connection.js';
import { createEvents, mergeChat, take } from './events.js';
import { createHistory } from './history.js';
import { createMarks } from './marks.js';
import { createOutbox } from './outbox.js';
import { createPeople } from './people.js';
import { createPresence } from './presence.js';
import { createState } from './state.js';
import { createTyping } from './typing.js';
import { TRANSPORTS, loadTransport, saveTransport } from './transport.js';

/** Everything behind the views, wired together for one session. */
export function createClient({ token, me, notify, onEnded }) {
  const state = createState(me, loadTransport());
  /** The server ends the session with the account, and may say so before it answers: that is no news then. */
  let erasing = false;
  const sessionEnded = () => {
    if (!erasing) onEnded();
  };
  const api = createApi(token, () => {
    connection.stop();
    sessionEnded();
  });
  /** What a resume brings, beyond the last message that each chat had when the connection was lost. */
  const missed = { counting: false, messages: 0, lastSeqs: new Map() };

  const connection = createConnection({
    open: (options) => TRANSPORTS[state.transport].open(options),
    token,
    hooks: {
      revisions: () => Object.fromEntries([...state.chats.values()].map((entry) => [entry.id, entry.revision])),
      onEvent,
      onStatus,
      checkSession: () => api.get('/users/me'),
    },
  });
  const request = (method, params) => connection.request(method, params);

  const history = createHistory({ state, api });
  const marks = createMarks({ state, request, refreshChat: fetchChat });
  const typing = createTyping({ request });
  const presence = createPresence({ state, request });
  const people = createPeople({ state, api, presence });
  const outbox = createOutbox({ state, send: (message) => request('SendMessage', message), onStored: takeIn });

  const applyEvent = createEvents({
    state,
    effects: {
      fetchChat,
      refreshChat: fetchChat,
      messageStored(message) {
        outbox.settle(message);
        if (message.senderId === me.id) return;
        marks.delivered(message.chatId);
        const isNew = message.kind === 'text' && message.seq > (missed.lastSeqs.get(message.chatId) ?? 0);
        if (missed.counting && isNew) missed.messages += 1;
      },
      membersChanged(entry) {
        fetchChat(entry.id);
        if (entry.id === state.openChatId) people.loadMembers(entry);
      },
      chatAdded(entry) {
        if (missed.counting) missed.messages += entry.chat.me.unread;
        marks.delivered(entry.id);
        presence.update();
      },
      chatReset(entry, before) {
        if (missed.counting) missed.messages += Math.min(entry.chat.me.unread, entry.chat.lastSeq - before.lastSeq);
        marks.delivered(entry.id);
        if (entry.id === state.openChatId) openHistory(entry);
      },
      chatRemoved(entry) {
        outbox.dropChat(entry.id);
        notify(`You are no longer in “${people.chatTitle(entry)}”.`);
      },
    },
  });

  function onEvent(method, params) {
    if (method === 'caughtUp') missed.counting = false;
    applyEvent(method, params);
  }

  function onStatus(status) {
    if (status.phase === 'ended') return sessionEnded();
    const wasLost = state.connection.wasLost || status.phase === 'lost';
    if (status.phase === 'lost') presence.forget();
    if (status.phase === 'resuming') {
      const lastSeqs = new Map([...state.chats.values()].map((entry) => [entry.id, entry.chat.lastSeq]));
      Object.assign(missed, { counting: wasLost, messages: 0, lastSeqs });
    }
    state.connection = { ...status, wasLost: wasLost && status.phase !== 'online', missed: wasLost ? missed.messages : null };
    state.changed('connection');
    if (status.phase === 'online') carryOn(wasLost);
  }

  /** Marks and presence aren't part of what a resume brings, so they are read anew. */
  function carryOn(wasLost) {
    outbox.flush();
    marks.retry();
    presence.restart();
    for (const entry of state.chats.values()) {
      entry.membersAreStale = true;
      if (entry.chat.me.unread > 0) marks.delivered(entry.id);
    }
    if (state.openChat) {
      openHistory(state.openChat);
      people.loadMembers(state.openChat);
    }
    if (wasLost) loadChats().catch(() => {});
    state.changed('messages');
  }

  async function loadChats() {
    for (const chat of await api.all('/chats')) mergeChat(state, chat);
  }

  function fetchChat(chatId) {
    return api.get(`/chats/${chatId}`).then((chat) => mergeChat(state, chat), () => null);
  }

  function takeIn(message) {
    const entry = state.chats.get(message.chatId);
    if (entry) take(state, entry, message);
  }

  function openHistory(entry) {
    return history.open(entry).catch((problem) => notify(problem.message));
  }

  return {
    state, api, connection, history, marks, typing, presence, people, outbox, notify, takeIn,

    async start() {
      await loadChats();
      connection.start();
    },

    /** Goes on over another transport, from where it is. */
    useTransport(id) {
      saveTransport(id);
      if (id === state.transport) return;
      state.transport = id;
      connection.reopen();
      state.changed('connection');
    },

    /** Erases the account; rejects, and all stays as it is, if the password is another one. */
    async erase(password) {
      erasing = true;
      try {
        await api.delete('/users/me', { password });
      } catch (problem) {
        erasing = false;
        throw problem;
      }
      outbox.clear();
    },

    /** Takes in a chat that a request has returned. */
    takeChat(chat) {
      const entry = mergeChat(state, chat);
      presence.update();
      return entry;
    },

    openChat(chatId) {
      const previous = state.openChat;
      if (previous && previous.id !== chatId) {
        previous.log.trim(100);
        marks.left(previous);
      }
      state.openChatId = chatId;
      const entry = state.openChat;
      if (entry) {
        history.forgetElsewhere(entry);
        openHistory(entry);
        people.loadMembers(entry);
      }
      state.changed('open', 'chats', 'messages');
    },

    stop: () => connection.stop(),
  };
}
