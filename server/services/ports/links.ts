import { type Scope } from './scope.js';

/** What a download link's token says, and its HMAC covers. */
export interface LinkClaims extends Scope {
  linkId: string;
  backupId: string;
  expiresAt: Date;
  /** The API key it was made with: the link ends with it. */
  keyId: string;
}

export interface LinkSigner {
  sign(claims: LinkClaims): string;
  /** undefined for anything forged, edited or expired, without telling which. */
  verify(token: string, now: Date): LinkClaims | undefined;
}

export interface NewLink extends LinkClaims {
  singleUse: boolean;
  createdAt: Date;
}

/** Links that were made, until they expire: what a signature alone cannot say. */
export interface LinkRepository {
  insert(link: NewLink): Promise<void>;
  /** Expired ones too, for a while. */
  get(scope: Scope, linkId: string): Promise<(NewLink & { usedAt: Date | null; revokedAt: Date | null }) | null>;
  /** Whether a link stands: neither revoked nor, if made for a single use, used. */
  stands(scope: Scope, link: Pick<LinkClaims, 'linkId' | 'backupId'>): Promise<boolean>;
  /** The same; a link for a single use is used by it. Of several at once, one gets true. */
  use(scope: Scope, link: Pick<LinkClaims, 'linkId' | 'backupId'>, at: Date): Promise<boolean>;
  /** Links of a backup that can still be used, or only one of them. Answers with how many that were. */
  revoke(scope: Scope, links: { backupId: string; linkId: string | null }, at: Date): Promise<number>;
  /** Removes expired ones, so many at most. */
  forgetOld(limit: number): Promise<void>;
}
