/** Tells which rows of a history are on screen. `onChange` is called when some came or went. */
export function createSight(scroller, onChange) {
  const rows = new Set();
  const observer = new IntersectionObserver(
    (changes) => {
      for (const { target, isIntersecting } of changes) isIntersecting ? rows.add(target) : rows.delete(target);
      onChange();
    },
    { root: scroller, threshold: [0, 0.5, 1] },
  );

  function seqsOf(test) {
    const view = scroller.getBoundingClientRect();
    return [...rows]
      .filter((row) => row.dataset.seq && test(row.getBoundingClientRect(), view))
      .map((row) => Number(row.dataset.seq))
      .sort((a, b) => a - b);
  }

  return {
    watch: (row) => observer.observe(row),
    forget(row) {
      observer.unobserve(row);
      rows.delete(row);
    },
    /** The messages of which any part is on screen, by their seqs. */
    touched: () => seqsOf((row, view) => shownOf(row, view) > 0),
    /** Those of which enough is on screen to have read them. */
    seen: () => seqsOf(isReadable),
    stop: () => observer.disconnect(),
  };
}

/** Half of it; of one that is taller than the view, the end. */
function isReadable(row, view) {
  if (row.height > view.height) return row.bottom > view.top && row.bottom < view.bottom + 1;
  return shownOf(row, view) >= Math.max(1, row.height / 2);
}

const shownOf = (row, view) => Math.min(row.bottom, view.bottom) - Math.max(row.top, view.top);
