/** More of a chat isn't kept; the rest can be read again. */
const MAX_KEPT = 600;

/** An unbroken stretch of a chat's history, ordered by seq, which has no gaps. It need not reach the newest message. */
export class MessageLog {
  items = [];
  /** `empty` until the first page is here, then `ready`. */
  status = 'empty';
  /** The promises of an older and of a newer page that are on their way. */
  loadingOlder = null;
  loadingNewer = null;
  /** Which end stays when new messages make it too long: the one that is being read. */
  keeps = 'newest';
  /** What events told of while a page is on its way that may have been read before them. */
  #early = new Map();
  #pagesUnderWay = 0;

  /** Takes in a message that an event told of, if it belongs to the stretch. */
  take(message) {
    if (this.#adjoins(message.seq, message.seq)) {
      this.#put(message);
      this.#limit(this.keeps);
    } else if (this.#pagesUnderWay > 0) {
      this.#early.set(message.seq, message);
    }
  }

  /** Takes in the page that `ask` brings; the end that `keeps` names stays if that is too much. Resolves to the page's length. */
  async load(ask, keeps) {
    this.#pagesUnderWay += 1;
    try {
      const { items } = await ask();
      // Meanwhile the stretch may have been cut where the page was to go.
      const fits = this.items.length === 0 || items.length === 0 || this.#adjoins(items[0].seq, items.at(-1).seq);
      if (!fits) return 0;
      this.status = 'ready';
      items.forEach((message) => this.#put(message));
      this.#putEarly();
      this.#limit(keeps);
      return items.length;
    } finally {
      this.#pagesUnderWay -= 1;
      if (this.#pagesUnderWay === 0) this.#early.clear();
    }
  }

  get hasMoreBefore() {
    return this.items.length > 0 ? this.items[0].seq > 1 : this.status === 'empty';
  }

  get last() {
    return this.items.at(-1);
  }

  has(seq) {
    return this.items.length > 0 && this.items[0].seq <= seq && seq <= this.last.seq;
  }

  byId(id) {
    return this.items.find((message) => message.id === id);
  }

  /** The messages from one seq to another, both included. */
  between(from, to) {
    return this.items.slice(this.#indexOf(from), this.#indexOf(to + 1));
  }

  /** Lets go of all but the newest messages of the stretch. */
  trim(keep) {
    if (this.items.length > keep) this.items = this.items.slice(-keep);
  }

  /** Puts a message in its place, unless a later version of it is there already. */
  #put(message) {
    const at = this.#indexOf(message.seq);
    const known = this.items[at];
    if (known?.seq !== message.seq) this.items.splice(at, 0, message);
    else if (known.revision <= message.revision) this.items[at] = message;
  }

  #putEarly() {
    const seqs = [...this.#early.keys()].sort((a, b) => a - b);
    for (const seq of seqs) if (this.#adjoins(seq, seq)) this.#put(this.#early.get(seq));
  }

  /** Whether these seqs belong to the stretch, or make it longer without a gap. */
  #adjoins(from, to) {
    if (this.status === 'empty') return false;
    if (this.items.length === 0) return from === 1;
    return to >= this.items[0].seq - 1 && from <= this.last.seq + 1;
  }

  #limit(keeps) {
    if (this.items.length <= MAX_KEPT) return;
    if (keeps === 'newest') this.trim(MAX_KEPT);
    else this.items.length = MAX_KEPT;
  }

  #indexOf(seq) {
    let low = 0;
    let high = this.items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.items[middle].seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
