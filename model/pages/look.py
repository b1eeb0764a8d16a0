"""The look of a page: dark text on white, for telephones, wide screens and paper."""

CSS = """
:root { --ink: #1f2328; --pale: #57606a; --line: #d0d7de; --tint: #f6f8fa; --blue: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 62rem; background: #fff;
  color: var(--ink); font: 1rem/1.55 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif;
  overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.3rem 0 0.6rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 0.6rem; padding-top: 0.5rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.4rem 0 0.4rem; }
p, ul, dl { margin: 0.5rem 0; }
p, li, dd, figcaption { max-width: 46rem; }
a { color: var(--blue); }
code, pre { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: 0.85rem; }
pre { background: var(--tint); border: 1px solid var(--line); border-radius: 6px;
  padding: 0.7rem 0.9rem; white-space: pre-wrap; }
.kind, .source, .note, figcaption, .caption { color: var(--pale); font-size: 0.92rem; }
.kind { margin: 0; }
.verdict { border: 1px solid var(--line); border-left: 6px solid var(--ink); border-radius: 6px;
  padding: 0.7rem 1rem; margin: 1rem 0; }
.verdict > strong { font-size: 1.15rem; }
.supports { border-left-color: #009e73; }
.contradicts { border-left-color: #d55e00; border-left-style: double; }
.inconclusive { border-left-color: #8c959f; border-left-style: dotted; }
.interval { display: block; width: 100%; max-width: 30rem; height: auto; margin: 0.6rem 0 0.2rem; }
.interval text { font: 12px system-ui, "Segoe UI", Roboto, Arial, sans-serif; fill: var(--ink); }
.interval .aside { fill: var(--pale); }
.interval .claimed { fill: #e3f0f8; }
.interval .none { fill: #c9ced4; }
.interval .threshold { stroke: var(--blue); stroke-dasharray: 4 3; stroke-width: 1.5; }
.interval .axis { stroke: #8c959f; }
.interval .spread { stroke: var(--ink); stroke-width: 2.5; }
.interval .value { fill: var(--ink); }
.interval .seed { fill: #fff; stroke: var(--ink); stroke-width: 1.4; }
figure { margin: 1.6rem 0; }
.drawing { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; padding: 0.4rem; }
.drawing > svg { display: block; width: 100%; min-width: 40rem; height: auto; }
figure h3 { margin-top: 0; }
figcaption { margin-bottom: 0.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.92rem; margin: 0.4rem 0; overflow-wrap: normal; }
th, td { padding: 0.3rem 0.8rem 0.3rem 0; text-align: left; vertical-align: top; min-width: 3rem;
  border-bottom: 1px solid var(--line); }
th { border-bottom-color: var(--pale); vertical-align: bottom; }
td { max-width: 28rem; }
.long { min-width: 13rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.number { white-space: normal; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.15rem 1rem; }
dt { color: var(--pale); }
dd { margin: 0; }
details { margin: 0.4rem 0; }
summary { cursor: pointer; }
details details { margin-left: 1.2rem; }
.beside { display: grid; grid-template-columns: minmax(0, 1fr) 18rem; gap: 0 1.6rem; }
.beside > * { min-width: 0; }
.open { background: var(--tint); border: 1px solid var(--line); border-radius: 6px;
  padding: 0.1rem 1rem 0.6rem; font-size: 0.95rem; align-self: start; }
@media (max-width: 54rem) { .beside { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 34rem) {
  body { padding: 1rem 0.8rem 3rem; }
  h1 { font-size: 1.3rem; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: 0.4rem; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  a { color: inherit; }
  figure, tr, .verdict, .interval { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .drawing, .wide { overflow: visible; border: 0; padding: 0; }
  .drawing > svg { min-width: 0; }
  /* Paper does not scroll: a wide table breaks its cells instead. */
  table { font-size: 8pt; overflow-wrap: anywhere; }
  th, td, .long { min-width: 0; padding-right: 0.4rem; }
  .number { white-space: normal; }
}
"""
