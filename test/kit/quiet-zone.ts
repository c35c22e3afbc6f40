/**
 * A zone in which it is about two in the afternoon. Instances get a policy of their own that backs them up in the hour after two at night: of services
 * on the real clock, tests that run at that hour would meet backups that nobody asked for.
 */
export const quietZone = (): string => {
  const hours = 14 - new Date().getUTCHours();
  return `${hours < 0 ? '-' : '+'}${String(Math.abs(hours)).padStart(2, '0')}:00`;
};
