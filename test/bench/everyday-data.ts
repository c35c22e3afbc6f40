import { type Command, type FillUnit } from '../kit/fill.js';

const NAMES = 'anna ben carla david emma felix greta hugo ida jonas klara leon mia noah olga paul quinn rosa sam tina'.split(' ');
const CITIES = 'Berlin Tokyo Lagos Lima Oslo Rome Delhi Cairo Paris Quito'.split(' ');
const WORDS = ('the order was shipped and will arrive on monday please contact support if you have any questions about your invoice thank you ' +
  'for shopping with us').split(' ');

/** Numbers, picks and texts out of a repeatable stream of bytes. */
class Dice {
  private bytes: Buffer = Buffer.alloc(0);
  private at = 0;

  constructor(private readonly random: (length: number) => Buffer) {}

  below(limit: number): number {
    if (this.at + 4 > this.bytes.length) {
      this.bytes = this.random(4_096);
      this.at = 0;
    }
    const value = this.bytes.readUInt32LE(this.at);
    this.at += 4;
    return Math.floor((value / 2 ** 32) * limit);
  }

  pick(of: readonly string[]): string {
    return of[this.below(of.length)] ?? '';
  }

  hex(length: number): string {
    return this.random(length / 2).toString('hex');
  }

  text(words: number): string {
    return Array.from({ length: words }, () => this.pick(WORDS)).join(' ');
  }

  time(): number {
    return 1_700_000_000 + this.below(10_000_000);
  }
}

const many = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

const commands = (key: string, random: (length: number) => Buffer): Command[] => {
  const dice = new Dice(random);
  const made: Command[] = [];
  for (let i = 0; i < 8; i += 1) {
    const user = `${key}:${String(i)}`;
    const session = {
      user, name: dice.pick(NAMES), roles: ['customer'], csrf: dice.hex(24), lastSeen: dice.time(), cart: [dice.below(1e6), dice.below(1e6)], lang: 'en-US',
    };
    made.push(
      ['SET', `session:${dice.hex(32)}`, JSON.stringify(session), 'EX', String(86_400 + dice.below(86_400))],
      [
        'HMSET', `user:${user}`, 'name', dice.pick(NAMES), 'city', dice.pick(CITIES), 'email', `${dice.pick(NAMES)}.${String(dice.below(1e5))}@example.com`,
        'visits', String(dice.below(1_000)), 'created', String(dice.time()), 'plan', dice.pick(['free', 'pro']),
      ],
      ['SET', `counter:page:${user}`, String(dice.below(1e6))],
      ['SET', `cache:product:${user}`, JSON.stringify({ title: dice.text(6), price: dice.below(10_000) / 100, description: dice.text(40), stock: dice.below(100) })],
    );
  }
  made.push(
    ['ZADD', `rank:${key}`, ...many(60, () => [String(dice.below(1e6)), `player:${String(dice.below(1e6))}`]).flat()],
    ['RPUSH', `queue:${key}`, ...many(40, () => JSON.stringify({ job: dice.hex(16), kind: 'mail', at: dice.time() }))],
    ['SADD', `tags:${key}`, ...many(40, () => String(dice.below(1e6)))],
    ['SET', `image:${key}`, random(1_024)],
  );
  return made;
};

/**
 * What an application keeps in Redis: sessions and cached documents in JSON, user hashes, counters, ranks, queues, tags, a few images. Some
 * 230 bytes of RDB a key, which compress by a third to a half.
 */
export const EVERYDAY_DATA: FillUnit = { rdbBytes: 8_170, commands };
