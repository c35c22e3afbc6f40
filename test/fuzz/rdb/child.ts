import { fuzz } from './fuzzer.js';
import { type FuzzOrder } from './order.js';

/** The process that is watched; its only argument is its order. */
export const runChild = async (order: string): Promise<void> => {
  process.stdout.write(`${JSON.stringify(await fuzz(JSON.parse(order) as FuzzOrder))}\n`);
};
