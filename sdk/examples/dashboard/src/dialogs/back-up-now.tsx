import { type FormEvent, useState } from 'react';
import { type Instance } from '@snapback/sdk';
import { useSession } from '../session.js';
import { useAction } from '../ui/act.js';
import { Field } from '../ui/field.js';
import { Modal } from '../ui/modal.js';
import { fieldErrors, Problem } from '../ui/problem.js';

export const BackUpNowDialog = ({ instance, onClose }: { instance: Pick<Instance, 'id' | 'name'>; onClose: () => void }) => {
  const { client, live } = useSession();
  const [name, setName] = useState('');
  const start = useAction(async () => {
    const { job } = await client.backups.create({ instanceId: instance.id, name: name.trim() });
    live.changed([job]);
    onClose();
  });
  const errors = fieldErrors(start.error, ['name']);
  return (
    <Modal title={`Back up ${instance.name}`} onClose={onClose}>
      <form
        onSubmit={(event: FormEvent) => {
          event.preventDefault();
          start.run();
        }}
      >
        <Field
          label="Name of the backup" required maxLength={128} value={name} onChange={({ target }) => setName(target.value)} error={errors.of('name')}
          note="What you will look for later: before the migration."
        />
        <Problem error={errors.rest} />
        <footer>
          <button type="button" onClick={onClose}>Cancel</button>
          <button className="primary" disabled={start.busy || name.trim() === ''}>{start.busy ? 'Starting …' : 'Back up now'}</button>
        </footer>
      </form>
    </Modal>
  );
};
