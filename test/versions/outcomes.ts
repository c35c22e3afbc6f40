/** What became of each pair, for the lines at the end. */
export class Outcomes {
  private readonly versions = new Map<string, string>();
  private readonly pairs = new Map<string, 'restored' | 'refused'>();

  constructor(private readonly names: readonly string[]) {}

  ran(name: string, what: string): void {
    this.versions.set(name, what);
  }

  restored(source: string, target: string): void {
    this.pairs.set(`${source} ${target}`, 'restored');
  }

  refused(source: string, target: string): void {
    this.pairs.set(`${source} ${target}`, 'refused');
  }

  get failed(): number {
    return this.names.length ** 2 - this.pairs.size;
  }

  /** One line that says which versions ran and how many pairs, then the pairs as a table: rows were backed up, columns restored into. */
  text(): string {
    const { names } = this;
    const all = names.length * names.length;
    const count = (wanted: string): number => [...this.pairs.values()].filter((outcome) => outcome === wanted).length;
    const [restored, refused] = [count('restored'), count('refused')];
    const width = Math.max(...names.map(({ length }) => length)) + 2;
    const head = `${' '.repeat(width)}${names.map((name) => name.padEnd(width)).join('')}`;
    const rows = names.map((source) => `${source.padEnd(width)}${names.map((target) => (this.pairs.get(`${source} ${target}`) ?? 'FAILED').padEnd(width)).join('')}`);
    return [
      `VERSIONS RAN: ${String(this.versions.size)} of ${String(names.length)}: ${names.map((name) => `${name} (${this.versions.get(name) ?? 'NOT BACKED UP'})`).join(', ')}; ` +
        `of ${String(all)} pairs ${String(restored)} restored, ${String(refused)} refused as they must be, ${String(this.failed)} failed`,
      ...[head, ...rows].map((line) => `  ${line.trimEnd()}`),
    ].join('\n');
  }
}
