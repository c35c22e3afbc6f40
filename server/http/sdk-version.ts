import { type NextFunction, type Request, type Response } from 'express';
import { checkSdk, SDK_MAJORS } from '../domain/sdk.js';

/** Says on every answer which majors of the SDK are answered, and refuses others before anything else of the request is looked at. */
export const sdkVersion = (req: Request, res: Response, next: NextFunction): void => {
  res.setHeader('x-snapback-sdk-majors', SDK_MAJORS.join(', '));
  checkSdk(req.get('x-snapback-sdk'));
  next();
};
