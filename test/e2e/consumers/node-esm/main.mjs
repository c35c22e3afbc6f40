import * as sdk from '@snapback/sdk';
import { isSnapbackError, SnapbackError } from '@snapback/sdk/errors';
import { ListBackupsDocument } from '@snapback/sdk/operations';
import { journey } from './journey.mjs';

const { SNAPBACK_URL: url, SNAPBACK_KEY: token, REDIS_HOST: host, REDIS_PORT: port } = process.env;
if (!isSnapbackError(new SnapbackError('network', 'NETWORK', 'x')) || sdk.SnapbackError !== SnapbackError) throw new Error('The errors are not those of the client.');
const { backups } = await sdk.createClient({ url, token }).execute(ListBackupsDocument, { first: 1 });
if (!Array.isArray(backups.nodes)) throw new Error('The document gave no backups.');
console.log(JSON.stringify(await journey(sdk, { url, token, host, port: Number(port) })));
