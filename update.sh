#!/bin/bash
# Updates the installed pack: fetches what is new, builds it, and lets it take the place of what runs. If it cannot be
# built or StackStorm refuses it, what ran before goes on running.
# usage: ./update.sh [--no-git] [--bin DIR] [--now]
#   --no-git   take the files as they are here
#   --bin DIR  take the executables from there instead of building them
#   --now      even while bookings are being worked on
set -euo pipefail
from=$PWD
cd "$(dirname "$0")"
# shellcheck source=scripts/st2-pack.sh
. scripts/st2-pack.sh

main() {
    local bin='' patience='' git=yes
    while [ $# -gt 0 ]; do
        case $1 in
            --no-git) git=no ;;
            --bin) [ $# -gt 1 ] || fail 2 "--bin needs a directory"; bin=$(cd "$from" && realpath -m -- "$2"); shift ;;
            --now) patience=now ;;
            -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' update.sh; exit ;;
            *) fail 2 "there is no option \`$1\`; --help says which there are" ;;
        esac
        shift
    done
    if [ "$git" = yes ]; then
        git pull --quiet --ff-only || fail 1 "git cannot pull; --no-git takes the files as they are here"
        # What has been fetched says itself how it is installed.
        exec ./update.sh --no-git ${bin:+--bin "$bin"} ${patience:+--now}
    fi
    check_machine "$bin"
    [ -d "$pack" ] || problems+=("there is no pack in \`$pack\`: run ./setup.sh first")
    stop_if_problems
    begin
    # Once now, so that nobody waits for a build in vain, and again before the pack is replaced.
    [ "$patience" = now ] || refuse_if_in_flight
    if [ -z "$bin" ]; then
        scripts/stage-pack.sh release 9<&- || fail 1 "it cannot be built; the pack that is installed stays as it is"
    fi
    stage_pack "${bin:-actions/bin}"
    install_staged "$patience"
    run_doctor
}

main "$@"
exit
