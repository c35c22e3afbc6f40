import { type LegacyNode } from './node.js';

type Fields = readonly (readonly [name: string, value: string | number])[];

const server = (node: LegacyNode, port: number): Fields => [
  ['redis_version', node.says], ['redis_git_sha1', '00000000'], ['redis_git_dirty', 0], ['redis_build_id', 'c0ffee0123456789'], ['redis_mode', 'standalone'],
  ['os', 'Linux 3.16.0-4-amd64 x86_64'], ['arch_bits', 64], ['multiplexing_api', 'epoll'],
  ...(node.version === '2.8.24' ? [] : [['atomicvar_api', 'atomic-builtin'] as const]),
  ['gcc_version', '4.9.2'], ['process_id', 1], ['run_id', node.runId], ['tcp_port', port], ['uptime_in_seconds', 100], ['uptime_in_days', 0], ['hz', 10],
  ['lru_clock', 1], ...(node.version === '2.8.24' ? [] : [['executable', '/data/redis-server'] as const]), ['config_file', ''],
];

const memory = (node: LegacyNode): Fields => [
  ['used_memory', 800_000], ['used_memory_human', '781.25K'], ['used_memory_rss', 2_400_000], ['used_memory_peak', 900_000], ['used_memory_peak_human', '878.91K'],
  ['used_memory_lua', 36_864],
  ...(node.profile.memoryLimitsInInfo
    ? [['total_system_memory', 8_000_000_000] as const, ['maxmemory', node.setting('maxmemory')] as const, ['maxmemory_policy', node.setting('maxmemory-policy')] as const]
    : []),
  ['mem_fragmentation_ratio', '3.00'], ['mem_allocator', node.version === '2.8.24' ? 'jemalloc-3.6.0' : 'jemalloc-4.0.3'],
];

const persistence = (node: LegacyNode): Fields => [
  ['loading', node.loading ? 1 : 0], ['rdb_changes_since_last_save', 0], ['rdb_bgsave_in_progress', 0], ['rdb_last_save_time', 1_446_000_000],
  ['rdb_last_bgsave_status', 'ok'], ['rdb_last_bgsave_time_sec', 0], ['rdb_current_bgsave_time_sec', -1],
  ['aof_enabled', node.setting('appendonly') === 'yes' ? 1 : 0], ['aof_rewrite_in_progress', 0], ['aof_rewrite_scheduled', 0], ['aof_last_rewrite_time_sec', -1],
  ['aof_current_rewrite_time_sec', -1], ['aof_last_bgrewrite_status', 'ok'], ['aof_last_write_status', 'ok'],
  ...(node.loading
    ? [['loading_start_time', 1_446_000_000] as const, ['loading_total_bytes', node.loading.total] as const, ['loading_loaded_bytes', node.loading.loaded] as const]
    : []),
];

const replication = (node: LegacyNode): Fields => {
  const { master, profile } = node;
  const following: Fields = master === undefined ? [['role', 'master']] : [
    ['role', 'slave'], ['master_host', master.host], ['master_port', master.port], ['master_link_status', master.state === 'UP' ? 'up' : 'down'],
    ['master_last_io_seconds_ago', master.state === 'UP' ? 0 : -1], ['master_sync_in_progress', master.state === 'TRANSFER' ? 1 : 0],
    ['slave_repl_offset', master.state === 'UP' ? master.offset : 1],
    ...(master.state === 'TRANSFER' ? [['master_sync_left_bytes', -1] as const, ['master_sync_last_io_seconds_ago', 0] as const] : []),
    ...(master.state === 'UP' ? [] : [['master_link_down_since_seconds', 1] as const]),
    ['slave_priority', node.setting('slave-priority')], ['slave_read_only', node.setting('slave-read-only') === 'yes' ? 1 : 0],
  ];
  return [
    ...following, ['connected_slaves', node.replicas.size],
    ...(profile.replicationIds ? [['master_replid', node.replid] as const, ['master_replid2', node.replid2] as const] : []),
    ['master_repl_offset', node.offset],
    ...(profile.replicationIds ? [['second_repl_offset', node.secondOffset] as const] : []),
    ['repl_backlog_active', node.backlog ? 1 : 0], ['repl_backlog_size', node.setting('repl-backlog-size')], ['repl_backlog_first_byte_offset', 0],
    ['repl_backlog_histlen', 0],
  ];
};

const sections = (node: LegacyNode, port: number, clients: number): Readonly<Record<string, Fields>> => ({
  Server: server(node, port),
  Clients: [['connected_clients', clients], ['client_longest_output_list', 0], ['client_biggest_input_buf', 0], ['blocked_clients', 0]],
  Memory: memory(node),
  Persistence: persistence(node),
  Stats: [
    ['total_connections_received', clients], ['total_commands_processed', 1], ['instantaneous_ops_per_sec', 0], ['rejected_connections', 0], ['sync_full', node.fullSyncs],
    ['sync_partial_ok', 0], ['sync_partial_err', 0], ['expired_keys', 0], ['evicted_keys', 0], ['keyspace_hits', 0], ['keyspace_misses', 0], ['latest_fork_usec', 200],
  ],
  Replication: replication(node),
  CPU: [['used_cpu_sys', '0.10'], ['used_cpu_user', '0.10'], ['used_cpu_sys_children', '0.00'], ['used_cpu_user_children', '0.00']],
  ...(node.version === '2.8.24' ? {} : { Cluster: [['cluster_enabled', 0]] }),
  Keyspace: node.keyspace.counts().map(({ database, keys, expires }) => [`db${String(database)}`, `keys=${String(keys)},expires=${String(expires)},avg_ttl=0`]),
});

/** INFO as this version prints it; one section when it is named, nothing for one that does not exist. */
export const infoText = (node: LegacyNode, port: number, clients: number, wanted = 'default'): string =>
  Object.entries(sections(node, port, clients))
    .filter(([name]) => ['default', 'all', name.toLowerCase()].includes(wanted.toLowerCase()))
    .map(([name, fields]) => `# ${name}\r\n${fields.map(([field, value]) => `${field}:${String(value)}\r\n`).join('')}`)
    .join('\r\n');
