import { DomainError } from '../../domain/errors.js';

/** Name of the one object of a store that is not content. */
export const MARKER_NAME = '.snapback-store';
const MARKER_FORMAT = 1;

export interface Marker {
  storeId: string;
  /** Whose archives these are; null in a store that no catalogue has claimed, such as one made before 0.2. */
  catalogueId: string | null;
}

const ID = /^[A-Za-z0-9_-]{1,64}$/;

/** @throws STORAGE_IO for a text that is no marker, UNSUPPORTED_FORMAT for a layout of another version. */
export const decodeMarker = (text: string, location: string): Marker => {
  const broken = (cause?: unknown): DomainError => new DomainError('STORAGE_IO', `The marker ${MARKER_NAME} of ${location} is damaged.`, {
    hint: 'Put the marker back from a copy of the store; it is one line of JSON with "format" and "storeId".', cause,
  });
  let marker: unknown;
  try {
    marker = JSON.parse(text);
  } catch (error) {
    throw broken(error);
  }
  if (typeof marker !== 'object' || marker === null || !('format' in marker) || !('storeId' in marker)) throw broken();
  const catalogueId = 'catalogueId' in marker ? marker.catalogueId : null;
  if (typeof marker.storeId !== 'string' || !ID.test(marker.storeId)) throw broken();
  if (catalogueId !== null && (typeof catalogueId !== 'string' || !ID.test(catalogueId))) throw broken();
  if (marker.format !== MARKER_FORMAT) {
    throw new DomainError('UNSUPPORTED_FORMAT', `The store in ${location} has layout ${String(marker.format)}; this version knows ${String(MARKER_FORMAT)}.`, {
      hint: 'Use the version of Snapback that made this store, or a newer one.',
    });
  }
  return { storeId: marker.storeId, catalogueId };
};

export const encodeMarker = ({ storeId, catalogueId }: Marker): Buffer =>
  Buffer.from(`${JSON.stringify({ format: MARKER_FORMAT, storeId, ...(catalogueId === null ? {} : { catalogueId }) })}\n`, 'utf8');

/** A place that is not empty is not made a store: it may be another's, or a store whose volume is not there. */
export const noMarkerButContent = (location: string): DomainError =>
  new DomainError('STORAGE_IO', `${location} holds other files and no store marker.`, {
    hint: `Choose an empty place. If this is a Snapback store, its marker ${MARKER_NAME} is missing: put it back from a copy, or run "npm run store:adopt".`,
  });

export const notAStore = (location: string): DomainError =>
  new DomainError('STORAGE_IO', `${location} is not a store: it has no marker.`, {
    hint: 'Check that this is the right place, and that its volume is mounted; or let the store be created.', details: { location, marker: 'MISSING' },
  });

/** The store that was opened is not the one that is there now. */
export const anotherStore = (location: string, found: string, expected: string): DomainError =>
  new DomainError('STORAGE_IO', `${location} now holds another store (${found} instead of ${expected}).`, {
    hint: 'Bring back the one this service was started with, or restart the service on the other one.', details: { location },
  });
