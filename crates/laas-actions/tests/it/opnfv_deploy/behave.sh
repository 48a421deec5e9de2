#!/bin/sh
# What every stand-in of an installer does, when it is sourced: it takes note of its call, and does as /etc/behave says.
echo "${0##*/} $*" >>/var/log/calls
echo "deploying for $scenario"
case $(cat /etc/behave 2>/dev/null) in
slow*)
    # A child that went its own way, as daemons do.
    setsid sh -c 'while :; do sleep 0.1; done' installer-daemon </dev/null >/dev/null 2>&1 &
    until [ -e /etc/go ]; do
        echo "still at it"
        sleep 0.05
    done
    kill $!
    ;;
fail*)
    echo "the password is $(sed -n 's/ *pass: //p' "$LAAS_PDF" 2>/dev/null | head -n 1)"
    echo "the disk is full" >&2
    exit 7
    ;;
lie*) exit 0 ;;
esac
mkdir -p /var/lib/machines
