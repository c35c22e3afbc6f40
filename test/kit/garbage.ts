import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');

/** Collects this process's garbage, so that what is measured then is held. */
export const collect = runInNewContext('gc') as () => void;
