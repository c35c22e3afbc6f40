/** `host:port` as it stands in messages and logs; an IPv6 address in brackets. */
export const addressOf = (to: { host: string; port: number }): string =>
  to.host.includes(':') ? `[${to.host}]:${to.port}` : `${to.host}:${to.port}`;
