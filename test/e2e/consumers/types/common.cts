import sdk = require('@snapback/sdk');

const client: sdk.Client = sdk.createClient({ url: 'https://snapback.example.com', token: 'sb_x' });
const first = (): Promise<sdk.Instance | null> => client.instances.list().first();
export = { first };
