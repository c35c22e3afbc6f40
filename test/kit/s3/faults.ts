export type S3Operation =
  | 'PutObject' | 'GetObject' | 'HeadObject' | 'DeleteObject' | 'ListObjectsV2' | 'CreateMultipartUpload' | 'UploadPart' | 'CompleteMultipartUpload'
  | 'AbortMultipartUpload' | 'ListMultipartUploads' | 'ListParts';

export interface S3Request {
  operation: S3Operation;
  /** Empty where no object is meant. */
  key: string;
  /** Of an UploadPart. */
  partNumber: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** Which requests are meant; what is left out, fits. */
export interface S3Match {
  operation?: S3Operation | readonly S3Operation[];
  partNumber?: number;
  key?: RegExp;
  /** How many of them let pass first. Default 0. */
  after?: number;
  /** How many of them then. Default: all. */
  times?: number;
  /** Only each so-manieth of those. Default: each. */
  every?: number;
}

export type S3Effect =
  /** An error answer; nothing is done. */
  | { kind: 'error'; status: number; code: string; headers?: Readonly<Record<string, string>> }
  /** Status 200, and an error in the body; nothing is done. */
  | { kind: 'error in a 200'; code: string }
  /** Status 200 and a page of some proxy; nothing is done. */
  | { kind: 'html' }
  /** Done, after a while. */
  | { kind: 'slow'; ms: number }
  /** Neither done nor answered. */
  | { kind: 'silent' }
  /** The connection breaks; nothing is done. */
  | { kind: 'cut' }
  /** Done, and then the connection breaks in place of an answer. */
  | { kind: 'cut answer' }
  /** The body of an answer ends after so many bytes, by a broken connection. */
  | { kind: 'cut body'; bytes: number }
  /** Range is ignored: the whole object, with status 200. */
  | { kind: 'no range' };

export interface S3Fault {
  /** Requests that met it. */
  readonly met: number;
  stop(): void;
}

interface Rule {
  match: S3Match;
  effect: S3Effect;
  seen: number;
  met: number;
}

const fits = ({ operation, partNumber, key }: S3Match, request: S3Request): boolean =>
  (operation === undefined || (typeof operation === 'string' ? operation === request.operation : operation.includes(request.operation))) &&
  (partNumber === undefined || partNumber === request.partNumber) && (key === undefined || key.test(request.key));

export class S3Faults {
  private readonly rules: Rule[] = [];

  add(match: S3Match, effect: S3Effect): S3Fault {
    const rule: Rule = { match, effect, seen: 0, met: 0 };
    this.rules.push(rule);
    return {
      get met() {
        return rule.met;
      },
      stop: () => void this.rules.splice(this.rules.indexOf(rule), this.rules.includes(rule) ? 1 : 0),
    };
  }

  clear(): void {
    this.rules.length = 0;
  }

  /** What becomes of a request; the first rule that fits decides. */
  effectOn(request: S3Request): S3Effect | undefined {
    for (const rule of this.rules) {
      if (!fits(rule.match, request)) continue;
      rule.seen += 1;
      const after = rule.match.after ?? 0;
      if (rule.seen <= after || rule.seen > after + (rule.match.times ?? Infinity) || (rule.seen - after) % (rule.match.every ?? 1) !== 0) continue;
      rule.met += 1;
      return rule.effect;
    }
    return undefined;
  }
}
