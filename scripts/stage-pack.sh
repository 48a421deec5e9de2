#!/bin/bash
# Builds the pack's executables and puts them where the actions' metadata expects them: actions/bin.
# usage: scripts/stage-pack.sh [dev|release]
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${1:-release}
case $profile in dev) folder=debug ;; *) folder=$profile ;; esac

cargo build --quiet --locked --profile "$profile" -p laas-actions -p laas-sensor
target=${CARGO_TARGET_DIR:-target}/$folder
mkdir -p actions/bin
for main in crates/laas-actions/src/bin/*.rs; do
    name=$(basename "$main" .rs)
    install -m 755 "$target/$name" "actions/bin/.$name.new"
    mv -f "actions/bin/.$name.new" "actions/bin/$name"
done
install -m 755 "$target/dashboard_sensor" actions/bin/.dashboard_sensor.new
mv -f actions/bin/.dashboard_sensor.new actions/bin/dashboard_sensor
