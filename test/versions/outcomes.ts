/** What became of each pair of versions. Rows were backed up, columns restored into. */
export class PairTable {
  private readonly pairs = new Map<string, string>();

  constructor(private readonly names: readonly string[]) {}

  set(source: string, target: string, what: string): void {
    this.pairs.set(`${source} ${target}`, what);
  }

  get size(): number {
    return this.names.length ** 2;
  }

  get missing(): number {
    return this.size - this.pairs.size;
  }

  count(what: string): number {
    return [...this.pairs.values()].filter((one) => one === what).length;
  }

  /** Each of what there was, and how often. */
  summary(): string {
    const all = [...new Set(this.pairs.values())].sort().map((what) => `${String(this.count(what))} ${what}`);
    return [...all, `${String(this.missing)} failed`].join(', ');
  }

  rows(): string[] {
    const { names } = this;
    const width = Math.max(...names.map(({ length }) => length), ...[...this.pairs.values()].map(({ length }) => length)) + 2;
    const head = `${' '.repeat(width)}${names.map((name) => name.padEnd(width)).join('')}`;
    const rows = names.map((source) => `${source.padEnd(width)}${names.map((target) => (this.pairs.get(`${source} ${target}`) ?? 'FAILED').padEnd(width)).join('')}`);
    return [head, ...rows].map((line) => `  ${line.trimEnd()}`);
  }
}

/** What became of each pair, for the lines at the end. */
export class Outcomes {
  private readonly versions = new Map<string, string>();
  private readonly pairs: PairTable;

  constructor(private readonly names: readonly string[]) {
    this.pairs = new PairTable(names);
  }

  ran(name: string, what: string): void {
    this.versions.set(name, what);
  }

  overTheLink(source: string, target: string): void {
    this.pairs.set(source, target, 'link');
  }

  /** The link was refused. */
  keyByKey(source: string, target: string): void {
    this.pairs.set(source, target, 'key by key');
  }

  get failed(): number {
    return this.pairs.missing;
  }

  /** One line that says which versions ran and how many pairs, then the pairs as a table. */
  text(): string {
    const { names, pairs } = this;
    return [
      `VERSIONS RAN: ${String(this.versions.size)} of ${String(names.length)}: ${names.map((name) => `${name} (${this.versions.get(name) ?? 'NOT BACKED UP'})`).join(', ')}; ` +
        `of ${String(pairs.size)} pairs ${String(pairs.count('link'))} restored over the link, ${String(pairs.count('key by key'))} refused there as they must be and restored key by key, ${String(this.failed)} failed`,
      ...pairs.rows(),
    ].join('\n');
  }
}
