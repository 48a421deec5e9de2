#!/bin/sh
# The updates of a host's operating system, as a job of `job.rs`, which sets it up.
# argv: DIRECTORY apt|dnf|yum|zypper
# Leaves in DIRECTORY: `before` and `after` (each package, its version and state), `log`, and at the very end `status`
# (the tool's exit status, and 1 if the system says that it wants a reboot).
dir=$1 tool=$2
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 ZYPP_LOCK_TIMEOUT=600

packages() {
    case $tool in
    apt) dpkg-query -W -f '${binary:Package} ${Version} ${db:Status-Abbrev}\n' ;;
    *) rpm -qa --qf '%{NAME} %{VERSION}-%{RELEASE}.%{ARCH}\n' ;;
    esac | sort
}

# Configuration files that somebody changed stay as they are, since nobody is there to ask.
apt_update() {
    tries=120
    # Mends what a killed run left half done. The system's own updates at boot may hold the lock for minutes. What can't
    # be mended so may be by a newer package.
    until said=$(dpkg --force-confdef --force-confold --configure -a 2>&1); do
        tries=$((tries - 1))
        case $said in
        *'locked by another process'*) [ "$tries" -gt 0 ] || break ;;
        *) break ;;
        esac
        sleep 5
    done
    echo "$said"
    # It ends with 0 even when an index could not be fetched.
    apt-get -q update >"$dir/refresh" 2>&1
    code=$?
    cat "$dir/refresh"
    [ "$code" = 0 ] || return "$code"
    ! grep -Eq '^(W|E): (Failed to fetch|Some index files failed)' "$dir/refresh" || return 100
    apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confdef \
        -o Dpkg::Options::=--force-confold dist-upgrade
}

# Its exit statuses from 100 to 103 are news; 103 says that it has updated itself and wants to be called again, 106
# that a repository could not be read.
zypper_update() {
    zypper --non-interactive refresh || return
    for _ in 1 2 3; do
        zypper --non-interactive update --auto-agree-with-licenses
        code=$?
        case $code in
        103) ;;
        100 | 101 | 102) return 0 ;;
        *) return "$code" ;;
        esac
    done
    return "$code"
}

packages >"$dir/before"
case $tool in
apt) apt_update ;;
dnf) dnf -y --refresh upgrade ;;
yum) yum -y update ;;
zypper) zypper_update ;;
esac
code=$?
packages >"$dir/after"
reboot=0
case $tool in
apt) [ ! -e /run/reboot-required ] || reboot=1 ;;
dnf | yum)
    needs-restarting -r >/dev/null 2>&1
    [ $? != 1 ] || reboot=1
    ;;
zypper)
    zypper needs-rebooting >/dev/null 2>&1
    [ $? != 102 ] || reboot=1
    ;;
esac
echo "$code $reboot" >"$dir/status.new"
sync "$dir/status.new"
mv -f "$dir/status.new" "$dir/status"
