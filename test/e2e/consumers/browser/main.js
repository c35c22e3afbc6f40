import * as sdk from '@snapback/sdk';
import { journey } from './journey.mjs';

globalThis.result = journey(sdk, globalThis.given);
