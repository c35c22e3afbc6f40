import { createRoot } from 'react-dom/client';
import { App } from './app.js';
import './styles/base.css';
import './styles/parts.css';
import './styles/pages.css';

const root = document.getElementById('root');
if (root !== null) createRoot(root).render(<App />);
