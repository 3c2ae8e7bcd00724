import { MessageLog } from './message-log.js';

/** The events that the server tells; a hub's client has to know their names. */
export const EVENTS = [
  'messageCreated',
  'messageEdited',
  'messageDeleted',
  'chatAdded',
  'chatUpdated',
  'chatRemoved',
  'chatReset',
  'readMoved',
  'deliveredMoved',
  'typing',
  'presenceChanged',
  'caughtUp',
];

/** Applies the server's events to the state. `effects` is what an event asks of the rest of the page. */
export function createEvents({ state, effects }) {
  function onMessage({ chatId, revision, message }) {
    const entry = state.chats.get(chatId);
    if (!entry) return effects.fetchChat(chatId);
    if (revision <= entry.revision) return;
    entry.revision = revision;
    take(state, entry, message);
    if (message.senderId !== state.me.id) stopTyping(entry, message.senderId);
    effects.messageStored(message);
  }

  function stopTyping(entry, userId) {
    if (entry.typing.delete(userId)) state.changed('typing');
  }

  const handlers = {
    messageCreated: onMessage,
    messageEdited: onMessage,
    messageDeleted: onMessage,

    chatUpdated({ chatId, revision, title, memberCount, message }) {
      const entry = state.chats.get(chatId);
      if (!entry) return effects.fetchChat(chatId);
      if (revision <= entry.revision) return;
      entry.revision = revision;
      if (title) entry.chat.title = title;
      entry.chat.memberCount = memberCount;
      if (message) take(state, entry, message);
      entry.membersAreStale = true;
      effects.membersChanged(entry);
      state.changed('chats', 'members');
    },

    chatAdded({ chat }) {
      const known = state.chats.get(chat.id);
      if (known && chat.revision <= known.revision) return;
      if (known) return handlers.chatReset({ chat });
      const entry = state.addChat(chat);
      effects.chatAdded(entry);
    },

    chatReset({ chat }) {
      const entry = state.chats.get(chat.id);
      if (!entry) return handlers.chatAdded({ chat });
      const before = entry.chat;
      entry.chat = chat;
      entry.revision = chat.revision;
      entry.log = new MessageLog();
      entry.nextLog = null;
      entry.arrivals = [];
      entry.membersAreStale = true;
      state.learnUsers([chat.peer]);
      state.changed('chats', 'messages');
      effects.chatReset(entry, before);
    },

    chatRemoved({ chatId }) {
      const entry = state.chats.get(chatId);
      if (!entry) return;
      state.removeChat(chatId);
      effects.chatRemoved(entry);
    },

    readMoved({ chatId, userId, seq }) {
      const entry = state.chats.get(chatId);
      if (!entry) return;
      moveMark(entry, userId, 'readSeq', seq);
      moveMark(entry, userId, 'deliveredSeq', seq);
      if (userId === state.me.id && !entry.moveReadMark(seq)) effects.refreshChat(chatId);
      state.changed('chats', 'marks');
    },

    deliveredMoved({ chatId, userId, seq }) {
      const entry = state.chats.get(chatId);
      if (entry) moveMark(entry, userId, 'deliveredSeq', seq);
      state.changed('marks');
    },

    typing({ chatId, userId, typing, expiresInMs }) {
      const entry = state.chats.get(chatId);
      if (!entry || userId === state.me.id) return;
      if (!typing) return stopTyping(entry, userId);
      entry.typing.set(userId, Date.now() + expiresInMs);
      state.changed('typing');
      setTimeout(() => {
        if (entry.typing.get(userId) <= Date.now()) stopTyping(entry, userId);
      }, expiresInMs + 10);
    },

    presenceChanged(presence) {
      state.presence.set(presence.userId, presence);
      state.changed('presence');
    },
  };

  return (method, params) => handlers[method]?.(params);
}

/** Takes in a message, from an event or as the answer to a request. */
export function take(state, entry, message) {
  const { chat } = entry;
  const isOwn = message.senderId === state.me.id;
  entry.log.take(message);
  entry.nextLog?.take(message);
  if (message.seq > chat.lastSeq) {
    chat.lastSeq = message.seq;
    if (message.kind === 'text' && !isOwn) entry.countArrival(message.seq);
  }
  if (message.kind === 'text' && isOwn) entry.moveReadMark(message.seq);
  const newest = chat.lastMessage;
  if (!newest || message.seq > newest.seq || (message.id === newest.id && message.revision >= newest.revision)) {
    chat.lastMessage = message;
  }
  state.changed('chats', 'messages');
}

/** Takes in a chat as a request returned it, without losing what events have told since. */
export function mergeChat(state, chat) {
  const entry = state.chats.get(chat.id);
  if (!entry) return state.addChat(chat);
  const known = entry.chat;
  const isOlder = chat.revision < entry.revision;
  if (isOlder) {
    chat.me.unread += entry.arrivedAfter(chat.lastSeq);
    Object.assign(chat, { title: known.title, memberCount: known.memberCount, lastMessage: known.lastMessage, lastSeq: known.lastSeq });
  }
  if (known.me.readSeq > chat.me.readSeq) Object.assign(chat.me, { readSeq: known.me.readSeq, unread: known.me.unread });
  entry.chat = chat;
  state.learnUsers([chat.peer]);
  state.changed('chats', 'members');
  return entry;
}

function moveMark(entry, userId, mark, seq) {
  const member = entry.members?.get(userId);
  if (member && seq > member[mark]) member[mark] = seq;
}
