/**
 * Which Debian suites carry which server. `suites` are looked up together, the last one being where the server itself comes from;
 * libraries may come from any of them. Suites that move (forky, sid) bring newer patch versions with time.
 */
export const VERSIONS = [
  { name: 'redis-6.0', programs: 'redis', packages: ['redis-server', 'redis-tools'], suites: ['bullseye', 'bullseye-security'] },
  { name: 'redis-7.0', programs: 'redis', packages: ['redis-server', 'redis-tools'], suites: ['bookworm', 'bookworm-security'] },
  { name: 'redis-8.0', programs: 'redis', packages: ['redis-server', 'redis-tools'], suites: ['trixie'] },
  { name: 'redis-8.0-new', programs: 'redis', packages: ['redis-server', 'redis-tools'], suites: ['sid'] },
  { name: 'valkey-8.0', programs: 'valkey', packages: ['valkey-server', 'valkey-tools'], suites: ['bookworm', 'bookworm-backports'] },
  { name: 'valkey-8.1', programs: 'valkey', packages: ['valkey-server', 'valkey-tools'], suites: ['trixie'] },
  { name: 'valkey-9.1', programs: 'valkey', packages: ['valkey-server', 'valkey-tools'], suites: ['sid'] },
];
