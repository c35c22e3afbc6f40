import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { DomainError } from '../domain/errors.js';
import { type SecretPlace, type Vault } from '../services/ports.js';
import { type MasterKeys } from './master-key.js';

/*
 * Layout of a sealed secret: version (1 byte, 2) | master key id (8 ASCII bytes) | box of its data key | box of the secret; a box is nonce (12) |
 * ciphertext | tag (16). The data key is 32 random bytes of this secret's own, in a box under a key derived from the master key, which so touches no
 * secret itself. Both boxes are AES-256-GCM with version, master key id and the place that the secret belongs to (tenant, table, column, row) as
 * associated data: what was moved to another row does not open.
 * Version 1, of releases before: version | master key id | box of the secret under a derived key.
 */
const VERSION = 2;
const DIRECT = 1;
const HEAD = 1 + 8;
const NONCE = 12;
const TAG = 16;
const DATA_KEY = 32;
const WRAPPED = NONCE + DATA_KEY + TAG;

const associated = (place: SecretPlace, head: Buffer): Buffer =>
  Buffer.concat([head, Buffer.from(JSON.stringify([place.projectId, place.table, place.column, place.rowId]))]);

const close = (key: Buffer, aad: Buffer, plain: Buffer): Buffer => {
  const nonce = randomBytes(NONCE);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(aad);
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
};

/** Throws when anything of the box, or what it is associated with, is not as it was closed. */
const open = (key: Buffer, aad: Buffer, box: Buffer): Buffer => {
  const decipher = createDecipheriv('aes-256-gcm', key, box.subarray(0, NONCE), { authTagLength: TAG });
  decipher.setAAD(aad);
  decipher.setAuthTag(box.subarray(box.length - TAG));
  return Buffer.concat([decipher.update(box.subarray(NONCE, box.length - TAG)), decipher.final()]);
};

export const createVault = ({ current, all }: MasterKeys): Vault => {
  const keys = new Map(all.map((master) => [master.id, { wrapping: master.derive('vault v2'), direct: master.derive('vault v1') }]));
  const wrapping = current.derive('vault v2');
  return {
    keyId: current.id,
    seal(place, plain) {
      const head = Buffer.concat([Buffer.from([VERSION]), Buffer.from(current.id, 'ascii')]);
      const aad = associated(place, head);
      const dataKey = randomBytes(DATA_KEY);
      return Buffer.concat([head, close(wrapping, aad, dataKey), close(dataKey, aad, Buffer.from(plain, 'utf8'))]);
    },
    open(place, sealed) {
      const where = `the sealed ${place.column} of ${place.rowId}`;
      const version = sealed[0];
      const least = HEAD + NONCE + TAG + (version === VERSION ? WRAPPED : 0);
      if ((version !== VERSION && version !== DIRECT) || sealed.length < least) {
        throw new DomainError('UNSUPPORTED_FORMAT', `Unknown format of ${where}.`);
      }
      const head = sealed.subarray(0, HEAD);
      const keyId = head.subarray(1).toString('ascii');
      const key = keys.get(keyId);
      if (key === undefined) {
        throw new DomainError('KEY_UNAVAILABLE', `${where} was sealed with master key ${keyId}; this service has ${[...keys.keys()].join(', ')}.`, {
          hint: 'Start the service with the master key it was set up with.',
        });
      }
      const aad = associated(place, head);
      const body = sealed.subarray(HEAD);
      try {
        const plain = version === DIRECT ? open(key.direct, aad, body) : open(open(key.wrapping, aad, body.subarray(0, WRAPPED)), aad, body.subarray(WRAPPED));
        return plain.toString('utf8');
      } catch (cause) {
        throw new DomainError('CORRUPT', `${where} does not open: it was changed or moved.`, { cause });
      }
    },
  };
};
