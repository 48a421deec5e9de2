#!/bin/bash
# Installs the pack in StackStorm on this machine. Run it again after the configuration, the hosts or a secret has
# changed: what is as it should be stays as it is.
# usage: ./setup.sh [--bin DIR] [--now] [--dry-run] [--uninstall]
#   --bin DIR    take the executables from there instead of building them
#   --now        even while bookings are being worked on
#   --dry-run    say what is missing and what would be done, and change nothing
#   --uninstall  take the pack away; configuration and datastore stay
# Beside this script it reads hosts.json and secrets.json, if they are there: *.example says what they hold.
# ST2_PACKS_DIR, ST2_CONFIGS_DIR and ST2_VIRTUALENVS name StackStorm's directories where they are not in /opt/stackstorm.
set -euo pipefail
from=$PWD
cd "$(dirname "$0")"
# shellcheck source=scripts/st2-pack.sh
. scripts/st2-pack.sh
# shellcheck source=scripts/st2-keys.sh
. scripts/st2-keys.sh

virtualenv=$virtualenvs/laas
bin='' patience='' task=install

main() {
    while [ $# -gt 0 ]; do
        case $1 in
            --bin) [ $# -gt 1 ] || fail 2 "--bin needs a directory"; bin=$(cd "$from" && realpath -m -- "$2"); shift ;;
            --now) patience=now ;;
            --dry-run) task=show ;;
            --uninstall) task=uninstall ;;
            -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' setup.sh; exit ;;
            *) fail 2 "there is no option \`$1\`; --help says which there are" ;;
        esac
        shift
    done
    if [ "$task" = uninstall ]; then
        uninstall
        return
    fi
    check_machine "$bin"
    for file in hosts.json secrets.json; do check_keys "$file"; done
    if [ "$task" = show ]; then show; fi
    stop_if_problems
    [ "$task" = install ] || return 0
    begin
    if [ -z "$bin" ]; then
        say "building; the first time takes minutes"
        scripts/stage-pack.sh release 9<&-
    fi
    stage_pack "${bin:-actions/bin}"
    may_replace "$patience"
    make_virtualenv
    place_config
    # Before the sensor starts.
    for file in hosts.json secrets.json; do load_keys "$file"; done
    install_staged "$patience"
    say_what_is_next
}

show() {
    say "would install the pack in \`$pack\`$([ -e "$pack/.installed" ] && printf ' in place of what is there')"
    [ -e "$config" ] || say "would put the example of a configuration in \`$config\`"
    has_virtualenv || say "would make the virtual environment \`$virtualenv\`"
    for file in hosts.json secrets.json; do
        if [ -e "$file" ]; then say "would load the keys of $file"; fi
    done
}

python_version() { "$1" -c 'import sys; print(sys.version_info[:2])' 2>/dev/null; }
has_virtualenv() { [ "$(python_version "$virtualenv/bin/python")" = "$(python_version "$python")" ]; }

# StackStorm starts a sensor with the Python of the pack's own environment, and with its own libraries on the path.
# Nothing more is needed, and `st2 run packs.setup_virtualenv` would fetch packages that the pack does not use.
make_virtualenv() {
    if ! has_virtualenv; then
        "$python" -m venv --clear --without-pip "$virtualenv"
        say "made the virtual environment \`$virtualenv\`"
    fi
    # What StackStorm's own environment does by .pth files is done in the pack's as well, as StackStorm has it.
    "$python" -c '
import pathlib, sys, sysconfig
if sys.prefix != sys.base_prefix:
    for site in pathlib.Path(sys.argv[1]).glob("lib/python*/site-packages"):
        line = "import sys; addsitedir(%r, known_paths)\n" % sysconfig.get_path("platlib")
        (site / "zzzzzzzzzz__st2__.pth").write_text(line)' "$virtualenv"
    if getent group st2packs >/dev/null; then chgrp -R st2packs "$virtualenv"; fi
}

# Never over one that is there. The API's user must be able to read it, everybody else must not.
place_config() {
    local new
    [ ! -e "$config" ] || return 0
    new=$(mktemp "$configs/.laas.XXXXXX")
    cat laas.yaml.example >"$new"
    if getent group st2 >/dev/null && chgrp st2 "$new"; then chmod 640 "$new"; fi
    mv -n "$new" "$config"
    rm -f "$new"
    say "put the example of a configuration in \`$config\`"
}

say_what_is_next() {
    local next=()
    is_filled_in || next+=("fill in \`$config\`")
    [ -e hosts.json ] || next+=("describe your hosts: cp hosts.json.example hosts.json")
    [ -e secrets.json ] || next+=("write your secrets down: install -m 600 secrets.json.example secrets.json")
    if [ "${#next[@]}" -gt 0 ]; then
        say "next (README.md says how):"
        printf -- '- %s\n' "${next[@]}" "run ./setup.sh again"
    else
        run_doctor
        say "next: st2 sensor list --pack laas; st2 execution list --action laas.fulfill_job"
    fi
}

uninstall() {
    need python3 "it is needed to ask StackStorm"
    check_st2
    stop_if_problems
    begin
    [ "$patience" = now ] || refuse_if_in_flight
    if st2 action get packs.unload >/dev/null 2>&1; then unregister; fi
    mkdir -p "$stage"
    if [ -d "$pack" ]; then mv -T "$pack" "$stage/old"; fi
    rm -rf "$virtualenv"
    st2 action get packs.unload >/dev/null 2>&1 || unregister
    say "the pack is gone; \`$config\` and the keys of the datastore are still there"
}

main "$@"
exit
