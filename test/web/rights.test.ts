/** The page of somebody who may read values and nothing else. */
import { test } from 'node:test';
import { isLive, pageSite, withPage } from '../support/page.js';

const READS = 'anonymous: true, access: [{ allow: [read], topic: "holdfast/+/data/#" }]';
const site = pageSite(() => withPage(READS));

test('who may not know what tags there are is told so, instead of shown none', async () => {
  const page = await site.open('tags');
  await isLive(page);
  await page.getByRole('alert').getByText('Your rights do not allow this.').waitFor();
  await page.close();
});
