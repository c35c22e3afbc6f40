const sdk = require('@snapback/sdk');
const { isSnapbackError } = require('@snapback/sdk/errors');
const operations = require('@snapback/sdk/operations');
const { journey } = require('./journey.mjs');

const { SNAPBACK_URL: url, SNAPBACK_KEY: token, REDIS_HOST: host, REDIS_PORT: port } = process.env;
if (sdk.isSnapbackError !== isSnapbackError || !String(operations.ViewerDocument).startsWith('query Viewer')) throw new Error('The entries do not belong together.');
journey(sdk, { url, token, host, port: Number(port) }).then((result) => console.log(JSON.stringify(result)));
