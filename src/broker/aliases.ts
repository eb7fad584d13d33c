/** Topic aliases that the broker sets towards one client: the first topics it is sent get one each. */
import type { Publication } from './codec.js';

export class Aliases {
  readonly #maximum: number;
  readonly #known = new Map<string, number>();
  /** Topic of the alias that was proposed last. */
  #proposed = '';

  constructor(maximum: number) {
    this.#maximum = maximum;
  }

  /** The alias to send instead of a topic; 0: none. Negative: new, to be sent with the topic and then noted. */
  of({ topic, topicStart, topicEnd }: Publication): number {
    // An alias costs three bytes each time and saves the topic.
    if (topicEnd - topicStart <= 3) return 0;
    const name = Buffer.from(topic.buffer, topic.byteOffset + topicStart, topicEnd - topicStart).toString(
      'latin1',
    );
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    if (this.#known.size >= this.#maximum) return 0;
    this.#proposed = name;
    return -(this.#known.size + 1);
  }

  /** The alias that was proposed last is on its way. */
  note(): void {
    this.#known.set(this.#proposed, this.#known.size + 1);
  }
}
