#!/bin/sh
# The chassis that ipmi_sim controls: <directory> get|set|check <name> [<value>] ...
# What it is lies in the files `power` (0 or 1) and `boot`; what it was told is in `events`.
# A file `lie` makes it say yes and do nothing; `deaf` makes it ignore the power button.
dir=$1; operation=$2; shift 2
[ -f "$dir/power" ] || echo 0 > "$dir/power"
[ -f "$dir/boot" ] || echo none > "$dir/boot"
put() {
    echo "$1 $2" >> "$dir/events"
    [ -e "$dir/lie" ] && return
    echo "$2" > "$dir/$1.new" && mv "$dir/$1.new" "$dir/$1"
}
case $operation in
get)
    for name in "$@"; do
        case $name in
        power | boot) echo "$name:$(cat "$dir/$name")" ;;
        *) echo "Invalid parameter: $name"; exit 1 ;;
        esac
    done ;;
set)
    while [ $# -gt 1 ]; do
        case $1 in
        power | boot) put "$1" "$2" ;;
        reset) echo "reset" >> "$dir/events" ;;
        shutdown)
            if [ -e "$dir/deaf" ]; then echo "ignored" >> "$dir/events"; else put power 0; fi ;;
        *) echo "Invalid parameter: $1"; exit 1 ;;
        esac
        shift 2
    done ;;
esac
