/** How the page looks: light or dark as the system is, on phones a card for each task. */
export const STYLE = `:root {
  color-scheme: light dark;
  --page: #f7f7f5; --card: #fff; --ink: #1d2421; --dim: #5d6863; --line: #e1e4e0; --link: #1c5f8f; --accent: #2f6f4f;
  --success: #2c7a51; --failure: #b8352c; --revoked: #7a4fa3; --retry: #96650a; --started: #1c6a9c; --pending: #5d6863;
  --success-wash: #e4f2ea; --failure-wash: #fbe7e5; --revoked-wash: #f0e8f7; --retry-wash: #f9efd9; --started-wash: #e2eff8; --pending-wash: #ecefed;
  --fresh: #fff6d6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #151917; --card: #1c211e; --ink: #e4e9e6; --dim: #9aa5a0; --line: #303733; --link: #82bdea; --accent: #7cc79f;
    --success: #7fd0a4; --failure: #f29389; --revoked: #c7a4ea; --retry: #e3b75f; --started: #86c2ea; --pending: #a8b3ae;
    --success-wash: #1d3a2b; --failure-wash: #452220; --revoked-wash: #35264a; --retry-wash: #3e3115; --started-wash: #1a3548; --pending-wash: #2b322e;
    --fresh: #3a3418;
  }
}
* { box-sizing: border-box; }
html { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
body { margin: 0; background: var(--page); color: var(--ink); }
a { color: var(--link); text-underline-offset: 2px; }
a.quiet { color: inherit; text-decoration: none; }
a.quiet:hover, a.quiet:focus-visible { text-decoration: underline; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 3px; }
main:focus { outline: none; }
h1 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: .8rem; font-weight: 600; letter-spacing: .04em; text-transform: uppercase; color: var(--dim); margin: 0 0 .6rem; }
code, pre, .id { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; font-size: .87em; }
.dim, .age { color: var(--dim); }
.age { font-size: .85rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.unseen { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: .5rem; top: .5rem; background: var(--card); padding: .5rem 1rem; z-index: 2; }
.top { display: flex; align-items: center; gap: 1.25rem; padding: .7rem 1.25rem; background: var(--card); border-bottom: 1px solid var(--line); }
.brand { font-weight: 650; color: var(--ink); text-decoration: none; }
.top nav { display: flex; gap: .25rem; margin-right: auto; }
.top nav a { padding: .25rem .7rem; border-radius: 6px; text-decoration: none; color: var(--dim); }
.top nav a:hover { color: var(--ink); }
.top nav a[aria-current] { background: var(--pending-wash); color: var(--ink); }
.live { margin: 0; font-size: .85rem; color: var(--dim); white-space: nowrap; }
.top button { padding: .15rem .7rem; font-size: .85rem; }
.live::before { content: ""; display: inline-block; width: .55em; height: .55em; margin-right: .45em; border-radius: 50%; background: var(--dim); }
.live[data-state=on]::before { background: var(--success); }
.live[data-state=trouble]::before { background: var(--failure); }
button, select, input { font: inherit; color: inherit; }
button { padding: .3rem .85rem; border: 1px solid var(--line); border-radius: 6px; background: var(--card); cursor: pointer; }
button:hover { border-color: var(--dim); }
[hidden] { display: none; }
.filters button { background: var(--accent); border-color: var(--accent); color: var(--card); }
input, select { width: 100%; padding: .3rem .55rem; border: 1px solid var(--line); border-radius: 6px; background: var(--card); }
input::placeholder { color: var(--dim); opacity: .7; }
main { max-width: 84rem; margin: 0 auto; padding: 1.25rem; }
footer { max-width: 84rem; margin: 0 auto; padding: 0 1.25rem 2rem; display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; font-size: .8rem; color: var(--dim); overflow-wrap: anywhere; }
.counts { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem; margin-bottom: 1rem; }
.counts ul { display: flex; flex-wrap: wrap; gap: .5rem; margin: 0; padding: 0; list-style: none; }
.counts li a { display: flex; align-items: center; gap: .55rem; padding: .3rem .7rem .3rem .35rem; border: 1px solid var(--line); border-radius: 8px; background: var(--card); color: inherit; text-decoration: none; }
.counts li a:hover { border-color: var(--dim); }
.counts li a[aria-current] { border-color: var(--link); box-shadow: inset 0 0 0 1px var(--link); }
.counts b { font-weight: 600; font-variant-numeric: tabular-nums; }
.state { display: inline-block; padding: .05rem .5rem; border-radius: 5px; font-size: .74rem; font-weight: 600; letter-spacing: .02em; line-height: 1.6; white-space: nowrap; max-width: 14rem; overflow: hidden; text-overflow: ellipsis; vertical-align: middle; color: var(--pending); background: var(--pending-wash); }
.state.success { color: var(--success); background: var(--success-wash); }
.state.failure { color: var(--failure); background: var(--failure-wash); }
.state.revoked { color: var(--revoked); background: var(--revoked-wash); }
.state.retry { color: var(--retry); background: var(--retry-wash); }
.state.started, .state.other { color: var(--started); background: var(--started-wash); }
.filters { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .6rem .75rem; align-items: end; margin-bottom: 1rem; }
label span { display: block; font-size: .78rem; color: var(--dim); margin-bottom: .15rem; }
.filters .buttons { display: flex; align-items: center; gap: .9rem; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; }
thead th { font-size: .78rem; color: var(--dim); white-space: nowrap; }
th.number { text-align: right; }
th, td { padding: .42rem .75rem; border-bottom: 1px solid var(--line); vertical-align: middle; }
tbody th { font-weight: 400; }
tbody tr:last-child > * { border-bottom: 0; }
section, table.members { background: var(--card); }
main section { border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.1rem; margin-bottom: 1rem; min-width: 0; }
#tasks { padding: 0; overflow: hidden; }
#tasks thead th { background: var(--page); }
.tasks td { overflow-wrap: anywhere; }
.tasks .time, .tasks .number { white-space: nowrap; font-variant-numeric: tabular-nums; }
.tasks .name { font-weight: 500; }
.tasks tbody tr:hover { background: var(--page); }
.tasks tr.fresh { animation: fresh 2.5s ease-out; }
@keyframes fresh { from { background: var(--fresh); } }
@media (prefers-reduced-motion: reduce) { .tasks tr.fresh { animation: none; } }
.empty, .part { padding: 1.5rem; margin: 0; color: var(--dim); text-align: center; }
.pages { display: flex; gap: 1rem; justify-content: flex-end; padding: .65rem 1rem; border-top: 1px solid var(--line); }
.pages:empty { display: none; }
.facts { display: flex; flex-wrap: wrap; gap: .6rem 2.25rem; margin: 0 0 1.1rem; }
.facts dt { font-size: .78rem; color: var(--dim); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.exception { margin: 0; color: var(--failure); overflow-wrap: anywhere; white-space: pre-wrap; }
.exception .dim { color: inherit; opacity: .75; }
.unreadable { margin: 0; color: var(--retry); }
.traceback { margin: 0; max-height: 32rem; overflow: auto; line-height: 1.55; color: var(--dim); tab-size: 4; }
.traceback .frame { color: var(--ink); }
.traceback b { color: var(--failure); font-weight: 600; }
.value ul { list-style: none; margin: 0; padding-left: 1.15rem; border-left: 1px solid var(--line); }
.value > .leaf > ul { margin-left: .25rem; }
.value li { margin: .1rem 0; }
.value details > ul { margin-left: .3rem; }
.value summary { cursor: pointer; display: list-item; width: fit-content; }
.value li > details { display: inline-block; vertical-align: top; max-width: 100%; }
.type { color: var(--dim); font-size: .85em; font-weight: 600; }
.key { font-weight: 500; overflow-wrap: anywhere; }
.key::after { content: ":"; color: var(--dim); }
.index { color: var(--dim); font-variant-numeric: tabular-nums; font-size: .85em; min-width: 1.2em; display: inline-block; }
code.text { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; }
code.text::before, code.text::after { content: "\\201d"; color: var(--dim); }
code.text::before { content: "\\201c"; }
code.number, code.literal { color: var(--started); overflow-wrap: anywhere; }
.members { margin: 0; }
.members td:first-child { width: 8rem; }
.depth-1 { padding-left: 2rem; } .depth-2 { padding-left: 3.5rem; } .depth-3 { padding-left: 5rem; } .depth-4, .depth-5 { padding-left: 6.5rem; }
progress { width: 9rem; vertical-align: middle; margin-right: .5rem; accent-color: var(--success); }
.danger summary { color: var(--dim); cursor: pointer; width: fit-content; }
.danger button { color: var(--failure); border-color: var(--failure); }
.ranges { display: flex; gap: .25rem; margin-bottom: 1rem; }
.ranges a { padding: .2rem .75rem; border: 1px solid var(--line); border-radius: 6px; background: var(--card); text-decoration: none; color: var(--dim); }
.ranges a[aria-current] { color: var(--ink); border-color: var(--link); box-shadow: inset 0 0 0 1px var(--link); }
.plot { margin: 0; }
.plot figcaption { display: flex; flex-wrap: wrap; gap: .3rem .6rem; align-items: center; margin: .6rem 0 .9rem; }
.plot figcaption b { margin-right: .9rem; font-variant-numeric: tabular-nums; }
.drawing { display: grid; grid-template-columns: auto 1fr; gap: .35rem .6rem; }
.drawing svg { width: 100%; height: 13rem; display: block; overflow: visible; }
.scale { display: flex; flex-direction: column; justify-content: space-between; text-align: right; font-size: .75rem; color: var(--dim); font-variant-numeric: tabular-nums; margin: -.55rem 0; }
.times { grid-column: 2; display: flex; justify-content: space-between; font-size: .75rem; color: var(--dim); font-variant-numeric: tabular-nums; }
.grid { stroke: var(--line); vector-effect: non-scaling-stroke; fill: none; }
rect.success { fill: var(--success); } rect.failure { fill: var(--failure); } rect.revoked { fill: var(--revoked); }
rect.unknown { fill: var(--pending-wash); } rect.reach { fill: transparent; }
g:hover > rect.reach { fill: var(--pending-wash); }
.numbers { margin-top: .9rem; color: var(--dim); font-size: .9rem; }
.numbers table { max-width: 40rem; color: var(--ink); }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(31rem, 100%), 1fr)); gap: 1rem; align-items: start; }
.sides section { margin: 0; overflow-x: auto; }
.sides th, .sides td { padding: .35rem .5rem; }
.breakdown th[scope=row] { overflow-wrap: anywhere; min-width: 9.5rem; }
.breakdown .number { white-space: nowrap; }
.share { width: 20%; min-width: 4rem; }
.share svg { width: 100%; height: .55rem; display: block; border-radius: 2px; }
.danger { margin-top: 1.5rem; }
.notice { max-width: 36rem; margin: 3rem auto; }
.notice label { display: inline-block; width: min(20rem, 100%); }
@media (max-width: 46rem) {
  .top { flex-wrap: wrap; gap: .3rem .6rem; padding: .6rem .9rem; }
  .top nav a { padding: .25rem .45rem; }
  .brand { flex-basis: 100%; }
  .top .live { font-size: .8rem; }
  main { padding: .9rem; }
  .filters { grid-template-columns: 1fr 1fr; }
  .tasks thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  .tasks, .tasks tbody { display: block; }
  .tasks tr { display: grid; grid-template-columns: auto 1fr; gap: .15rem .75rem; padding: .7rem .9rem; border-bottom: 1px solid var(--line); }
  .tasks tr:last-child { border-bottom: 0; }
  .tasks td { display: flex; gap: .4rem; padding: 0; border: 0; font-size: .9rem; text-align: left; }
  .tasks td:empty { display: none; }
  .tasks td[data-label=Worker]::before, .tasks td[data-label=Queue]::before, .tasks td[data-label=Retries]::before { content: attr(data-label); color: var(--dim); font-size: .8rem; }
  .tasks .id { grid-column: 1 / -1; }
  .tasks .time { justify-self: end; color: var(--dim); grid-row: 1; grid-column: 2; }
  .tasks .name { grid-column: 1 / -1; }
  .times span:nth-child(even), .share { display: none; }
  .sides { font-size: .9rem; }
  .breakdown th[scope=row] { min-width: 6rem; }
  .sides th, .sides td { padding: .35rem .3rem; }
}
`
