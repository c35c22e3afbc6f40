import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { DomainError } from '../domain/errors.js';
import { type SecretPlace, type Vault } from '../services/ports.js';
import { type MasterKeys } from './master-key.js';

/*
 * Layout of a sealed secret: version (1 byte, 1) | master key id (8 ASCII bytes) | nonce (12) | ciphertext | tag (16).
 * AES-256-GCM; the place it belongs to (tenant, table, column, row) is associated data, so a sealed secret that was moved to another
 * row does not open.
 */
const VERSION = 1;
const HEAD = 1 + 8 + 12;
const TAG = 16;

const associated = (place: SecretPlace, head: Buffer): Buffer =>
  Buffer.concat([head.subarray(0, 9), Buffer.from(JSON.stringify([place.projectId, place.table, place.column, place.rowId]))]);

export const createVault = ({ current, all }: MasterKeys): Vault => {
  const sealing = current.derive('vault v1');
  const keys = new Map(all.map((master) => [master.id, master.derive('vault v1')]));
  return {
    keyId: current.id,
    seal(place, plain) {
      const nonce = randomBytes(12);
      const head = Buffer.concat([Buffer.from([VERSION]), Buffer.from(current.id, 'ascii'), nonce]);
      const cipher = createCipheriv('aes-256-gcm', sealing, nonce);
      cipher.setAAD(associated(place, head));
      return Buffer.concat([head, cipher.update(plain, 'utf8'), cipher.final(), cipher.getAuthTag()]);
    },
    open(place, sealed) {
      const where = `the sealed ${place.column} of ${place.rowId}`;
      if (sealed.length < HEAD + TAG || sealed[0] !== VERSION) {
        throw new DomainError('UNSUPPORTED_FORMAT', `Unknown format of ${where}.`);
      }
      const keyId = sealed.subarray(1, 9).toString('ascii');
      const key = keys.get(keyId);
      if (key === undefined) {
        throw new DomainError('KEY_UNAVAILABLE', `${where} was sealed with master key ${keyId}; this service has ${[...keys.keys()].join(', ')}.`, {
          hint: 'Start the service with the master key it was set up with.',
        });
      }
      const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(9, HEAD), { authTagLength: TAG });
      decipher.setAAD(associated(place, sealed.subarray(0, HEAD)));
      decipher.setAuthTag(sealed.subarray(sealed.length - TAG));
      try {
        return Buffer.concat([decipher.update(sealed.subarray(HEAD, sealed.length - TAG)), decipher.final()]).toString('utf8');
      } catch (cause) {
        throw new DomainError('CORRUPT', `${where} does not open: it was changed or moved.`, { cause });
      }
    },
  };
};
