/** Entry of the page: asks the server who it is, connects, and draws the view that the URL's hash names. */
import { render } from 'preact';
import { Frame } from './frame.js';
import { start } from './session.js';

void start();
const root = document.getElementById('page');
if (root !== null) render(<Frame />, root);
