import { type ReactNode } from 'react';
import { type Backup } from '@snapback/sdk';
import { bytes, count, duration, plural } from '../format.js';
import { useSession } from '../session.js';
import { Age, When } from '../time.js';
import { useAction } from '../ui/act.js';
import { Status } from '../ui/bits.js';
import { Modal } from '../ui/modal.js';
import { Problem } from '../ui/problem.js';
import { BACKUP_STATE, ENGINE, METHOD, pick, say, TRIGGER, words } from '../words.js';

const Fact = ({ name, children }: { name: string; children: ReactNode }) => <div><dt>{name}</dt><dd>{children}</dd></div>;

/** Everything that is known of a backup. */
export const BackupDialog = ({ backup, onClose }: { backup: Backup; onClose: () => void }) => {
  const { client, live, mayOperate } = useSession();
  const verify = useAction(async () => {
    const { job } = await client.backups.verify(backup);
    live.changed([job]);
    onClose();
  });
  const [tone, state] = pick(BACKUP_STATE, backup.state);
  const { source, verification, damage, loadsOn } = backup;
  return (
    <Modal title={backup.name} onClose={onClose} wide>
      <div className="body">
        {damage !== null && <div className="problem"><p>{damage.message} <code className="code">{damage.code}</code></p></div>}
        <dl className="sheet">
          <Fact name="State"><Status tone={tone}>{state}</Status></Fact>
          <Fact name="Taken">{say(TRIGGER, backup.trigger)}{backup.completedAt !== null && <>, <When at={backup.completedAt} /></>}{backup.durationMs !== null && `, took ${duration(backup.durationMs / 1000)}`}</Fact>
          <Fact name="From">{say(ENGINE, backup.engine)} {backup.engineVersion}{source !== null && ` at ${source.host}:${String(source.port)} (${words(source.role).toLowerCase()})`}</Fact>
          <Fact name="Method">{say(METHOD, backup.captureMethod)}</Fact>
          <Fact name="Contents">{backup.keys === null ? '–' : <>{plural(backup.keys, 'key')} <small>{count(backup.expiringKeys)} of them expiring</small></>}</Fact>
          <Fact name="Types">{backup.types?.map(({ type, keys }) => `${words(type)} ${count(keys)}`).join(' · ') || '–'}</Fact>
          <Fact name="Size">{bytes(backup.sizeBytes)} <small>{bytes(backup.storedBytes)} in the store</small></Fact>
          <Fact name="Checked">{backup.integrity === null ? '–' : words(backup.integrity)}</Fact>
          <Fact name="Verified">{verification === null ? 'Not since it was taken' : <>{words(verification.level)}: {words(verification.result).toLowerCase()}, <Age at={verification.verifiedAt} /></>}</Fact>
          <Fact name="Loads on">{loadsOn?.map(({ engine, minVersion, maxVersion }) => `${say(ENGINE, engine)} ${minVersion}${maxVersion === null ? ' and newer' : ` to ${maxVersion}`}`).join(' · ') || '–'}</Fact>
          <Fact name="Kept until">{backup.expiresAt === null ? '–' : <When at={backup.expiresAt} />}{backup.retainedBecause === 'NEWEST_GOOD' && ', or for as long as it is the newest good one'}</Fact>
          <Fact name="SHA-256"><code>{backup.sha256 ?? '–'}</code></Fact>
          <Fact name="Id"><code>{backup.id}</code></Fact>
        </dl>
        <Problem error={verify.error} />
      </div>
      <footer>
        {mayOperate && backup.state === 'AVAILABLE' && <button type="button" disabled={verify.busy} onClick={() => verify.run()}>Verify every byte</button>}
        <button type="button" className="primary" onClick={onClose}>Close</button>
      </footer>
    </Modal>
  );
};
