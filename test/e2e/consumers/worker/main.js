import * as sdk from '@snapback/sdk';
import { journey } from './journey.mjs';

self.onmessage = ({ data }) => {
  journey(sdk, data).then((result) => self.postMessage(result), (error) => self.postMessage({ error: String(error) }));
};
