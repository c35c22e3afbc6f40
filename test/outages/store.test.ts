import { onDouble, underAll } from '../conformance/store/s3-double.js';

onDouble('S3 without conditional writes, that lists uploads by exact keys only', { conditions: 'IGNORED', listsUploads: 'BY_KEY' });
onDouble('S3 in short pages and with trouble all the time, under all wrappers', { pageSize: 3 }, {
  wrap: underAll,
  trouble: (s3) => {
    s3.fail({ every: 7 }, { kind: 'error', status: 503, code: 'SlowDown' });
    s3.fail({ every: 11 }, { kind: 'cut' });
    s3.fail({ every: 17, operation: ['PutObject', 'UploadPart', 'CompleteMultipartUpload', 'DeleteObject', 'AbortMultipartUpload'] }, { kind: 'cut answer' });
    s3.fail({ every: 5, operation: 'GetObject' }, { kind: 'cut body', bytes: 20_000 });
  },
});
