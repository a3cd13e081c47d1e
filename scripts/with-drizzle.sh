#!/usr/bin/env bash
# Checks this project as it lies here with other versions of Drizzle, in a throw-away copy: types, tests and the demo.
#
#     scripts/with-drizzle.sh <drizzle-orm> [<drizzle-kit>] [-- <arguments of vitest>]
#     scripts/with-drizzle.sh 1.0.0-rc.5 1.0.0-rc.5 -- test/schema
#
# Without a version of drizzle-kit it is the same as drizzle-orm's. The tests find servers as in `npm test`.
set -euo pipefail
cd "$(dirname "$0")/.."

orm=${1:?Which version of drizzle-orm?}
shift
kit=$orm
if [ $# -gt 0 ] && [ "$1" != -- ]; then
  kit=$1
  shift
fi
if [ $# -gt 0 ]; then shift; fi

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
# What git tracks and what it would: not node_modules, nothing that is built. A file may be gone since.
git ls-files --cached --others --exclude-standard -z | while IFS= read -r -d '' file; do
  if [ -f "$file" ]; then printf '%s\0' "$file"; fi
done | tar -c --null --files-from=- | tar -x -C "$copy"
cd "$copy"

npm ci --silent --no-audit --no-fund
npm install --silent --no-audit --no-fund --no-save "drizzle-orm@$orm" "drizzle-kit@$kit"
for name in drizzle-orm drizzle-kit; do
  node -e 'const { name, version } = JSON.parse(fs.readFileSync(0, "utf8")); console.log(name, version)' \
    <"node_modules/$name/package.json"
done

case $orm in
  0.*) project=tsconfig.json ;;
  *) project=tsconfig.drizzle-1.json ;;
esac
npx tsc --noEmit --project "$project"
npm run --silent demo
npm test --silent -- "$@"
