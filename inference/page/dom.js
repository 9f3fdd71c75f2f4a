// What the modules of the page share: access to its elements, the checkbox that several of them
// read, and how probabilities are written.

export const byId = id => document.getElementById(id);
export const create = (tag, properties) => Object.assign(document.createElement(tag), properties);
export const percent = probability => probability > 0.999 ? '> 99.9%' : `${(100 * probability).toFixed(1)}%`;
export const isSegmenting = () => byId('several').checked;
