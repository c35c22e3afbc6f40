import { type FormEvent, useState } from 'react';
import { go } from '../router.js';
import { useSession } from '../session.js';
import { useAction } from '../ui/act.js';
import { Check, Field } from '../ui/field.js';
import { Modal } from '../ui/modal.js';
import { fieldErrors, Problem } from '../ui/problem.js';

const FIELDS = ['name', 'host', 'port', 'username', 'password'];

export const RegisterDialog = ({ onClose }: { onClose: () => void }) => {
  const { client, live } = useSession();
  const [tls, setTls] = useState(false);
  const register = useAction(async (form: FormData) => {
    const text = (name: string): string => {
      const value = form.get(name);
      return typeof value === 'string' ? value : '';
    };
    const instance = await client.instances.register({
      name: text('name').trim(), host: text('host').trim(), port: Number(text('port')),
      ...(text('username') !== '' && { username: text('username') }), ...(text('password') !== '' && { password: text('password') }), ...(tls && { tls: {} }),
    }, { timeoutMs: 30_000 });
    live.changed();
    onClose();
    go(`/instances/${instance.id}/backups`);
  });
  const errors = fieldErrors(register.error, FIELDS);
  return (
    <Modal title="Register a server" onClose={onClose}>
      <form
        onSubmit={(event: FormEvent<HTMLFormElement>) => {
          event.preventDefault();
          register.run(new FormData(event.currentTarget));
        }}
      >
        <Field label="Name" name="name" required maxLength={128} error={errors.of('name')} note="How it is called here: orders-cache." />
        <div className="row">
          <Field label="Host" name="host" required spellCheck={false} error={errors.of('host')} />
          <Field label="Port" name="port" type="number" min={1} max={65_535} required defaultValue={6379} error={errors.of('port')} />
        </div>
        <div className="row">
          <Field label="User" name="username" autoComplete="off" spellCheck={false} error={errors.of('username')} note="Empty: the default user." />
          <Field label="Password" name="password" type="password" autoComplete="new-password" error={errors.of('password')} />
        </div>
        <Check label="Encrypted connection (TLS)" checked={tls} onChange={({ target }) => setTls(target.checked)} note="Own certificates are given through the API." />
        <Problem error={errors.rest} />
        <footer>
          <button type="button" onClick={onClose}>Cancel</button>
          <button className="primary" disabled={register.busy}>{register.busy ? 'Probing the server …' : 'Register'}</button>
        </footer>
      </form>
    </Modal>
  );
};
