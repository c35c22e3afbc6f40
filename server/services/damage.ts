import { type DomainError } from '../domain/errors.js';
import { type DamageRecord } from './records.js';

export const damageOf = ({ code, message }: DomainError, noticedAt: Date): DamageRecord => ({ code, message, noticedAt });
