/** What waits for its time, earliest first: a binary heap. 100,000 waiting messages cost 17 comparisons a step. */
export interface Due {
  /** On the monotonic clock. */
  readonly at: number;
}

export class DueHeap<T extends Due> {
  readonly #heap: T[] = [];

  get size(): number {
    return this.#heap.length;
  }

  get first(): T | undefined {
    return this.#heap[0];
  }

  push(item: T): void {
    const heap = this.#heap;
    let hole = heap.push(item) - 1;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      const above = heap[parent]!;
      if (above.at <= item.at) break;
      heap[hole] = above;
      hole = parent;
    }
    heap[hole] = item;
  }

  pop(): T | undefined {
    const heap = this.#heap, first = heap[0], last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.at < heap[child]!.at) child++;
      if (heap[child]!.at >= last.at) break;
      heap[hole] = heap[child]!;
      hole = child;
    }
    heap[hole] = last;
    return first;
  }

  clear(): void {
    this.#heap.length = 0;
  }
}
