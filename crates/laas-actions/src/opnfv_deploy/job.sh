#!/bin/sh
# The installation, as a job of `laas_host::job`, which sets it up.
# argv: DIRECTORY SECONDS SOURCE REFERENCE SUCCESS
# In DIRECTORY lie `clean.sh`, `deploy.sh` and `verify.sh`. Leaves there `source`, `phase`, `found` (what the
# verification printed), `log`, and at the very end `status`: the exit status and the phase that it is of.
dir=$1 seconds=$2 source=$3 reference=$4 success=$5
# An image can put tools of its own before the system's.
export PATH="/opt/laas/bin:$PATH:/snap/bin" HOME=/root USER=root DEBIAN_FRONTEND=noninteractive
cd "$dir" || exit
now=$(date +%s)
ends=$((now + seconds))

begin() {
    phase=$1
    echo "$phase" >"$dir/phase"
    echo "== $phase $(date -u +%Y-%m-%dT%H:%M:%SZ)"
}

# What was started and is not of this shell: a time that is up ends the whole tree.
kill_others() {
    for process in $(grep -Fslxz "LAAS_JOB=$LAAS_JOB" /proc/[0-9]*/environ | tr -dc '0-9\n'); do
        [ "$process" = $$ ] || kill -s KILL "$process" 2>/dev/null
    done
}

end() {
    echo "$1 $phase" >"$dir/status.new"
    sync "$dir/status.new"
    mv -f "$dir/status.new" "$dir/status"
    exit 0
}

# Runs a command for as long as there is time; its exit status, 124 if the time was up.
within_time() {
    left=$((ends - $(date +%s)))
    [ "$left" -gt 0 ] || left=1
    timeout --kill-after=10 "$left" "$@"
    code=$?
    if [ "$code" = 124 ] || [ "$code" = 137 ]; then
        echo "the time is up, or somebody killed it"
        kill_others
        return 124
    fi
    return "$code"
}

begin clean
within_time sh clean.sh || echo "clean ended with exit status $?"
rm -rf source

begin fetch
case $source in
/*) within_time cp -a -- "$source" source ;;
*.tar.gz | *.tgz)
    mkdir source
    within_time curl --fail --silent --show-error --location --retry 3 --output source.tgz -- "$source" &&
        within_time tar --extract --gzip --file=source.tgz --directory=source --strip-components=1
    ;;
*) within_time git clone --quiet --depth 1 --recurse-submodules --branch "$reference" -- "$source" source ;;
esac || end $?

begin deploy
within_time sh -e deploy.sh || end $?
if [ -n "$success" ] && ! grep -Fq -- "$success" log; then
    echo "the log does not say: $success"
    phase=success
    end 1
fi

begin verify
within_time sh -e verify.sh >found || end $?
cat found
end 0
