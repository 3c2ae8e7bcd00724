/** An unbroken stretch of a chat's history, up to its newest message, ordered by seq. */
export class MessageLog {
  items = [];
  /** `empty`, `loading` or `ready` */
  status = 'empty';
  hasMoreBefore = true;
  /** The promise of an older page that is on its way. */
  loadingOlder = null;

  /** Puts a message in its place, unless a later version of it is there already. */
  put(message) {
    const at = this.indexOf(message.seq);
    const known = this.items[at];
    if (known?.seq !== message.seq) this.items.splice(at, 0, message);
    else if (known.revision <= message.revision) this.items[at] = message;
  }

  /** Whether a message with this seq belongs to the stretch that is here. */
  covers(seq) {
    if (this.status === 'empty') return false;
    return !this.hasMoreBefore || this.items.length === 0 || seq >= this.items[0].seq;
  }

  byId(id) {
    return this.items.find((message) => message.id === id);
  }

  get last() {
    return this.items.at(-1);
  }

  /** Lets go of all but the newest messages; the rest can be read again. */
  trim(keep) {
    if (this.items.length <= keep || this.loadingOlder) return;
    this.items = this.items.slice(-keep);
    this.hasMoreBefore = true;
  }

  indexOf(seq) {
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
