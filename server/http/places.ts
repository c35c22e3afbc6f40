/** Room for clients that stay: sockets and streams of this process together. */
export interface Places {
  /** Taken at the door, before anybody knows whose it is; null when there is none left. */
  enter(): (() => void) | null;
  /** Taken besides, once it is known; null when this key has as many as it may. */
  of(keyId: string): (() => void) | null;
}

export const createPlaces = (most: number, mostOfKey: number): Places => {
  let taken = 0;
  const ofKey = new Map<string, number>();
  return {
    enter() {
      if (taken >= most) return null;
      taken += 1;
      return () => {
        taken -= 1;
      };
    },
    of(keyId) {
      const others = ofKey.get(keyId) ?? 0;
      if (others >= mostOfKey) return null;
      ofKey.set(keyId, others + 1);
      return () => {
        const left = (ofKey.get(keyId) ?? 1) - 1;
        if (left > 0) ofKey.set(keyId, left);
        else ofKey.delete(keyId);
      };
    },
  };
};
