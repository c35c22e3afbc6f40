import { type Endpoint } from '../engine/ports.js';
import { type InstanceSecrets, type Repositories, type SecretPlace, type Vault } from './ports.js';
import { type InstanceRecord } from './records.js';

export const secretPlace = (instance: { projectId: string; id: string }): SecretPlace => ({
  projectId: instance.projectId, table: 'instances', column: 'secrets', rowId: instance.id,
});

const NO_SECRETS: InstanceSecrets = { password: null, tls: null };

export const sealSecrets = (vault: Vault, instance: { projectId: string; id: string }, secrets: InstanceSecrets): Buffer | null =>
  secrets.password === null && secrets.tls === null ? null : vault.seal(secretPlace(instance), JSON.stringify(secrets));

export const openSecrets = async (vault: Vault, repositories: Repositories, instance: InstanceRecord): Promise<InstanceSecrets> => {
  const sealed = await repositories.instances.sealedSecrets(instance, instance.id);
  return sealed === null ? NO_SECRETS : (JSON.parse(vault.open(secretPlace(instance), sealed)) as InstanceSecrets);
};

export const endpointOf = (
  instance: Pick<InstanceRecord, 'host' | 'port' | 'username' | 'tls'>,
  secrets: InstanceSecrets,
): Endpoint => ({
  host: instance.host,
  port: instance.port,
  username: instance.username ?? undefined,
  password: secrets.password ?? undefined,
  tls: instance.tls
    ? {
        ca: secrets.tls?.ca ?? undefined,
        cert: secrets.tls?.cert ?? undefined,
        key: secrets.tls?.key ?? undefined,
        serverName: instance.tls.serverName ?? undefined,
        insecure: instance.tls.insecureSkipVerify,
      }
    : undefined,
});

/** Where an instance is and how to log in there. Held only while used. */
export const openEndpoint = async (vault: Vault, repositories: Repositories, instance: InstanceRecord): Promise<Endpoint> =>
  endpointOf(instance, await openSecrets(vault, repositories, instance));
