import { MessageLog } from './message-log.js';

/** How many arrivals a chat remembers: more than can come while a request is on its way. */
const MAX_ARRIVALS = 1_000;

/** All that the page knows. Views read it and listen for topics; only the modules beside this one write it. */
export function createState(me, transport) {
  const listeners = new Map();
  const dirty = new Set();

  const state = {
    me,
    /** chatId → ChatEntry */
    chats: new Map(),
    /** userId → User, or null for someone who can't be found any more */
    users: new Map([[me.id, me]]),
    /** userId → Presence */
    presence: new Map(),
    connection: { phase: 'connecting' },
    /** The id of what carries the connection. */
    transport,
    openChatId: null,

    on(topic, listener) {
      if (!listeners.has(topic)) listeners.set(topic, new Set());
      listeners.get(topic).add(listener);
      return () => listeners.get(topic).delete(listener);
    },

    /** Says that something under a topic has changed. Listeners run once per batch, before the next paint. */
    changed(...topics) {
      if (dirty.size === 0) queueMicrotask(flush);
      topics.forEach((topic) => dirty.add(topic));
    },

    get openChat() {
      return state.chats.get(state.openChatId);
    },

    addChat(chat) {
      const entry = new ChatEntry(chat);
      state.chats.set(chat.id, entry);
      state.learnUsers([chat.peer]);
      state.changed('chats');
      return entry;
    },

    removeChat(chatId) {
      state.chats.delete(chatId);
      state.changed('chats');
    },

    learnUsers(users) {
      for (const user of users) if (user) state.users.set(user.id, user);
      state.changed('users');
    },

    chatsByActivity() {
      return [...state.chats.values()].sort((a, b) => (a.activeAt < b.activeAt ? 1 : -1));
    },
  };

  function flush() {
    const topics = [...dirty];
    dirty.clear();
    for (const topic of topics) for (const listener of [...(listeners.get(topic) ?? [])]) listener();
  }

  return state;
}

/** One chat: what the server says of it, and what of its history is here. */
class ChatEntry {
  constructor(chat) {
    this.chat = chat;
    /** The last revision applied. Only events and a fresh chat move it; answers to requests may run ahead of events that are still to come. */
    this.revision = chat.revision;
    this.log = new MessageLog();
    /** The stretch that is to take its place, while it is being read. */
    this.nextLog = null;
    /** The seqs of unread messages that events have told of, after the read mark. */
    this.arrivals = [];
    /** userId → Member, once loaded. */
    this.members = null;
    this.membersAreStale = true;
    /** userId → time at which the sign expires. */
    this.typing = new Map();
    this.draft = '';
  }

  get id() {
    return this.chat.id;
  }

  get activeAt() {
    return this.chat.lastMessage?.createdAt ?? this.chat.createdAt;
  }

  /** Whether messages follow those that are here. */
  get hasMoreAfter() {
    return this.log.status === 'ready' && (this.log.last?.seq ?? 0) < this.chat.lastSeq;
  }

  /** Counts a message of somebody else that has come. */
  countArrival(seq) {
    this.chat.me.unread += 1;
    this.arrivals.push(seq);
    if (this.arrivals.length > MAX_ARRIVALS) this.arrivals.shift();
  }

  /** How many unread messages have come after a seq, as far as events have told. */
  arrivedAfter(seq) {
    return this.arrivals.filter((arrived) => arrived > seq).length;
  }

  /** Takes in where the server has the read mark. Returns whether the number of unread messages is known with that. */
  moveReadMark(seq) {
    const { chat, log } = this;
    if (seq <= chat.me.readSeq) return true;
    chat.me.readSeq = seq;
    this.arrivals = this.arrivals.filter((arrived) => arrived > seq);
    const isHere = seq >= chat.lastSeq || (log.has(seq + 1) && !this.hasMoreAfter);
    // One's own are none of them: sending moves the mark.
    if (isHere) chat.me.unread = log.between(seq + 1, chat.lastSeq).filter((message) => message.kind === 'text').length;
    return isHere;
  }

  get isMuted() {
    return this.chat.me.mutedUntil != null && new Date(this.chat.me.mutedUntil) > new Date();
  }
}
