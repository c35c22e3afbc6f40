import { type Json } from './canonical-json.js';

/** A member of the wrong shape; `path` says which. */
export class FieldError extends Error {
  constructor(readonly path: string, expected: string) {
    super(`${path} is not ${expected}`);
    this.name = 'FieldError';
  }
}

/** A value outside a closed list. */
export class UnknownNameError extends FieldError {}

const DECIMAL = /^(?:0|[1-9][0-9]{0,19})$/;
const MAX_U64 = 2n ** 64n - 1n;

/** Reads a parsed JSON value strictly: each accessor checks and throws a FieldError that names the path. */
export class Field {
  constructor(readonly value: Json | undefined, readonly path: string) {}

  get(name: string): Field {
    const members = this.members();
    return new Field(Object.hasOwn(members, name) ? members[name] : undefined, this.path === '' ? name : `${this.path}.${name}`);
  }

  members(): { readonly [name: string]: Json } {
    const { value } = this;
    if (value === null || value === undefined || typeof value !== 'object' || Array.isArray(value)) throw this.not('an object');
    return value as { readonly [name: string]: Json };
  }

  list(): Field[] {
    if (!Array.isArray(this.value)) throw this.not('a list');
    return (this.value as readonly Json[]).map((item, i) => new Field(item, `${this.path}[${String(i)}]`));
  }

  text(pattern?: RegExp): string {
    if (typeof this.value !== 'string' || (pattern !== undefined && !pattern.test(this.value))) {
      throw this.not(pattern === undefined ? 'a string' : `a string like ${String(pattern)}`);
    }
    return this.value;
  }

  flag(): boolean {
    if (typeof this.value !== 'boolean') throw this.not('true or false');
    return this.value;
  }

  integer(least: number, most: number): number {
    if (typeof this.value !== 'number' || !Number.isInteger(this.value) || this.value < least || this.value > most) {
      throw this.not(`an integer from ${String(least)} to ${String(most)}`);
    }
    return this.value;
  }

  /** A decimal string of at most 64 bits. */
  count(): bigint {
    const text = this.text(DECIMAL);
    const value = BigInt(text);
    if (value > MAX_U64) throw this.not('below 2^64');
    return value;
  }

  oneOf<T extends string | number>(values: readonly T[]): T {
    const found = values.find((value) => value === this.value);
    if (found === undefined) throw new UnknownNameError(this.path, `one of ${values.join(', ')}`);
    return found;
  }

  time(): Date {
    const text = this.text();
    const date = new Date(text);
    if (Number.isNaN(date.getTime()) || date.toISOString() !== text) throw this.not('a UTC time with milliseconds');
    return date;
  }

  orNull<T>(read: (field: Field) => T): T | null {
    return this.value === null ? null : read(this);
  }

  /** Of a member that came later than the format: null where it is not there. */
  orAbsent<T>(read: (field: Field) => T): T | null {
    return this.value === undefined ? null : this.orNull(read);
  }

  private not(expected: string): FieldError {
    return new FieldError(this.path === '' ? 'the manifest' : this.path, expected);
  }
}
