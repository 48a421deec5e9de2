# shellcheck shell=bash
# Files of datastore keys, hosts.json and secrets.json. Read by setup.sh with `.`, after st2-pack.sh.

# Adds to `problems` what is wrong with a file of keys. Values are never shown.
check_keys() {
    local line
    [ -e "$1" ] || return 0
    if [ "$1" = secrets.json ] && [ -n "$(find "$1" -perm /077)" ]; then
        problems+=("others can read \`$1\`: chmod 600 $1")
    fi
    while read -r line; do problems+=("$1: $line"); done < <(python3 -c '
import json, sys
name = sys.argv[1]
try:
    keys = json.load(open(name))
except (OSError, ValueError) as error:
    sys.exit(print(error))
if not isinstance(keys, list):
    sys.exit(print("this must be a list"))
for number, key in enumerate(keys, 1):
    known = key.get("name") if isinstance(key, dict) else None
    if not known or not all(isinstance(key.get(part), str) for part in ("name", "value")):
        print(f"entry {number} needs a name and a value, both of them texts")
    elif name == "secrets.json" and key.get("secret") is not True:
        print(f"{known} needs \"secret\": true, so that StackStorm keeps it encrypted")
' "$1")
}

# `st2` shows what it has loaded, secrets and all.
load_keys() {
    local said
    [ -e "$1" ] || return 0
    if ! said=$(st2 key load "$1" 2>&1); then
        grep -E '^(ERROR|MESSAGE)' <<<"$said" >&2 || true
        fail 1 "StackStorm does not take the keys of $1"
    fi
    say "loaded the keys of $1"
}
