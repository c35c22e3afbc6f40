import { fuzz, type Subject } from './fuzzer.js';
import { type FuzzOrder } from './order.js';

/** The process that is watched; its only argument is its order. */
export const runChild = async <Input>(text: string, subjectOf: (corpus: string) => Subject<Input>): Promise<void> => {
  const order = JSON.parse(text) as FuzzOrder;
  process.stdout.write(`${JSON.stringify(await fuzz(order, subjectOf(order.corpus)))}\n`);
};
