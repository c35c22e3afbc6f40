import { useState } from 'react';

/** Something the user sets off: whether it is under way, and what it ended with. A second start meanwhile does nothing. */
export const useAction = <Args extends unknown[]>(work: (...args: Args) => Promise<void>): { run: (...args: Args) => void; busy: boolean; error: unknown; clear: () => void } => {
  const [state, setState] = useState<{ busy: boolean; error: unknown }>({ busy: false, error: undefined });
  return {
    ...state,
    clear: () => setState({ busy: false, error: undefined }),
    run: (...args) => {
      if (state.busy) return;
      setState({ busy: true, error: undefined });
      work(...args).then(() => setState({ busy: false, error: undefined }), (error: unknown) => setState({ busy: false, error }));
    },
  };
};
