#!/usr/bin/env python3
"""What operators have switched on or off in StackStorm, which takes it from the YAML whenever a pack is registered.

usage: st2-decisions.py note PACK DECISIONS
           writes to DECISIONS what StackStorm has enabled or not otherwise than the YAML of the pack that it runs
       st2-decisions.py apply PACK DECISIONS SHIPPED
           makes the YAML of PACK say the same, and keeps in SHIPPED the files as they were
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

KINDS = {
    "rule": "rules",
    "sensor": "sensors",
    "action": "actions",
    "action-alias": "aliases",
    "policy": "policies",
}
ENABLED = re.compile(r"^enabled:.*$", re.MULTILINE)
NAME = re.compile(r"^(?:class_)?name: *[\"']?([^\"'\s]+)", re.MULTILINE)


def is_enabled(text):
    said = ENABLED.search(text)
    return said is None or said[0].split(":")[1].split()[:1] == ["true"]


def states(kind):
    said = subprocess.run(
        ["st2", kind, "list", "--pack", "laas", "--attr", "ref", "enabled", "--json"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if said.returncode != 0:
        sys.exit(f"error: StackStorm does not say which of its {KINDS[kind]} are enabled: {said.stdout}{said.stderr}")
    # Where there is none, the client has words for it.
    listed = json.loads(said.stdout) if said.stdout.startswith("[") else []
    return {item["ref"]: item["enabled"] for item in listed}


def note(pack, decisions):
    found = {}
    for kind, folder in KINDS.items():
        known = states(kind)
        for file in pathlib.Path(pack, folder).glob("*.yaml"):
            text = file.read_text()
            name = NAME.search(text)
            state = known.get(f"laas.{name[1]}") if name else None
            if state is not None and state != is_enabled(text):
                found[f"{folder}/{file.name}"] = state
    pathlib.Path(decisions + ".new").write_text(json.dumps(found))
    os.replace(decisions + ".new", decisions)


def apply(pack, decisions, shipped):
    for name, state in json.loads(pathlib.Path(decisions).read_text()).items():
        file, kept = pathlib.Path(pack, name), pathlib.Path(shipped, name)
        if not file.exists() or is_enabled(text := file.read_text()) == state:
            continue
        line = f"enabled: {json.dumps(state)}"
        text, changed = ENABLED.subn(line, text, count=1)
        if not changed:
            text = text.rstrip("\n") + f"\n{line}\n"
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, f"{kept}.new")
        os.replace(f"{kept}.new", kept)
        file.write_text(text)


{"note": note, "apply": apply}[sys.argv[1]](*sys.argv[2:])
