# shellcheck shell=bash
# What setup.sh and update.sh share: how the pack gets into StackStorm's directories, and back out. Read by them with
# `.` from the root of the repository.
#
# The new pack is put together in $stage and changes places with the running one in one step. A pack gets the file
# `.installed` when it has been registered, so what a killed run has left can be told by looking: if the pack in $stage
# has that file and the one in its place has not, they have changed places and nobody knows what was registered.

packs=${ST2_PACKS_DIR:-/opt/stackstorm/packs}
configs=${ST2_CONFIGS_DIR:-/opt/stackstorm/configs}
virtualenvs=${ST2_VIRTUALENVS:-/opt/stackstorm/virtualenvs}
pack=$packs/laas
config=$configs/laas.yaml
# StackStorm takes a directory for a pack if a pack.yaml is right in it, so the staged one lies a level deeper. It is
# on the same file system as the pack, where a rename is enough.
stage=$packs/.laas-setup
# Sensors run with StackStorm's own libraries, which only fit the Python that they were installed for.
python=/opt/stackstorm/st2/bin/python
[ -x "$python" ] || python=python3
contents=(pack.yaml config.schema.yaml laas.yaml.example hosts.json.example inventory.yaml.example icon.png README.md CHANGES.md LICENSE
    actions workflows rules sensors triggers aliases policies templates software)

say() { printf '%s\n' "$*"; }
# fail CODE MESSAGE…: 1 something refused, 2 something is missing or wrong here, 3 try again later
fail() {
    printf 'error: %s\n' "${@:2}" >&2
    exit "$1"
}

# The names of the pack's executables, as its YAML has them.
executables() {
    sed -n 's|^entry_point: bin/||p' actions/*.yaml
    for sensor in sensors/*.yaml; do basename "$sensor" .yaml; done
}

problems=()
need() { command -v "$1" >/dev/null || problems+=("\`$1\` is missing: $2"); }
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# Adds to `problems` what keeps the pack from being built and installed here; $1 is where executables are, if given.
check_machine() {
    local bin=$1 name directory version said
    need ipmitool "apt-get install ipmitool, or dnf install ipmitool"
    need python3 "apt-get install python3"
    need flock "apt-get install util-linux"
    for directory in "$packs" "$configs" "$virtualenvs"; do
        if [ ! -d "$directory" ]; then
            problems+=("there is no directory \`$directory\`: is StackStorm installed here?")
        elif [ ! -w "$directory" ]; then
            problems+=("\`$directory\` cannot be written to: run this as root, e.g. by sudo -E env PATH=\"\$PATH\" $0")
        fi
    done
    if [ -n "$bin" ]; then
        for name in $(executables); do
            [ -x "$bin/$name" ] || problems+=("there is no executable \`$bin/$name\`")
        done
    else
        need cc "apt-get install gcc libc6-dev, or dnf install gcc"
        need pkg-config "apt-get install pkg-config, or dnf install pkgconf-pkg-config"
        if command -v pkg-config >/dev/null && ! pkg-config --exists openssl zlib; then
            problems+=("OpenSSL or zlib is missing: apt-get install libssl-dev zlib1g-dev, or dnf install openssl-devel zlib-devel")
        fi
        need cargo "install Rust (https://rustup.rs), or build elsewhere and say --bin DIR"
        name=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
        if command -v cargo >/dev/null; then
            # What rustup leaves in the place of a toolchain that is not installed is there, and does not run.
            if ! said=$(cargo --version 2>&1); then
                problems+=("\`cargo\` does not run: $(head -n 1 <<<"$said")")
            else
                version=$(sed -n 's/^cargo \([0-9.]*\).*/\1/p' <<<"$said")
                at_least "$version" "$name" || problems+=("Rust is $version and must be $name at least: rustup update")
            fi
        fi
    fi
    check_st2
}

# Adds to `problems` what keeps us from talking to StackStorm.
check_st2() {
    local version said
    if ! command -v st2 >/dev/null; then
        problems+=("\`st2\` is missing: install StackStorm 3.9 (https://docs.stackstorm.com/install)")
    elif version=$(st2 --version 2>&1 | sed -n 's/^st2 \([0-9.]*\).*/\1/p') && ! at_least "$version" 3.9; then
        problems+=("StackStorm is $version and must be 3.9 at least")
    elif ! said=$(st2 pack list --attr ref --json 2>&1); then
        problems+=("StackStorm does not let \`st2\` in (run \`st2 login\`, or set ST2_API_KEY): $(tail -n 1 <<<"$said")")
    fi
}

stop_if_problems() { [ "${#problems[@]}" = 0 ] || fail 2 "${problems[@]}"; }

# One at a time, and whatever ends this run: what it has begun is undone. The lock goes when the last process does.
begin() {
    exec 9<"$packs"
    flock -n 9 || fail 3 "another setup.sh or update.sh is at work in \`$packs\`"
    trap end EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    roll_back
}

end() {
    local code=$?
    trap '' HUP INT TERM
    roll_back || code=1
    rm -rf "$stage"
    exit "$code"
}

# Directories change places in one step, which nothing interrupts.
exchange() (
    trap '' HUP INT TERM
    python3 -c '
import ctypes, os, sys
AT_FDCWD, RENAME_EXCHANGE = -100, 2
one, other = map(os.fsencode, sys.argv[1:])
libc = ctypes.CDLL(None, use_errno=True)
if libc.renameat2(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) != 0:
    sys.exit(f"error: cannot exchange two directories below {sys.argv[2]} (are they on a local file system?): {os.strerror(ctypes.get_errno())}")
' "$1" "$2"
)

# Puts the pack back that ran before an installation which did not come to its end.
roll_back() {
    as_shipped
    if [ -e "$stage/new/.installed" ] && [ ! -e "$pack/.installed" ]; then
        exchange "$stage/new" "$pack" || return
        say "the pack that was there before is back"
        if ! register; then
            say "but it is not registered: run \`st2 pack register laas\` as soon as StackStorm works again"
            return 1
        fi
    elif [ -e "$stage/first" ] && [ ! -e "$pack/.installed" ]; then
        rm -rf "$pack"
        say "the pack is not installed"
        unregister || true
    fi
    rm -rf "$stage/new" "$stage/first" "$stage/old"
}

# This pack only: `st2ctl reload` would fail for the faults of any other one. What operators have switched on or off stays
# so, without a moment in which a rule or a sensor acts that is switched off: the YAML says it for as long as it is read.
register() {
    local code=0
    if [ -e "$stage/decided" ]; then
        scripts/st2-decisions.py apply "$pack" "$stage/decided" "$stage/shipped" || return
    fi
    quietly st2 pack register laas || code=$?
    as_shipped
    return "$code"
}

# Undoes what `register` has written, in this run or in one that was killed.
as_shipped() {
    local file
    for file in "$stage"/shipped/*/*.yaml; do
        [ ! -e "$file" ] || cp -p -- "$file" "$pack/${file#"$stage/shipped/"}"
    done
    rm -rf "$stage/shipped"
}

# What the command prints is shown only if it fails.
quietly() {
    local said
    said=$("$@" 2>&1) || {
        printf '%s\n' "$said" >&2
        return 1
    }
}

# StackStorm forgets a pack by an action of its own; laas-engine sees that the pack is no longer there.
unregister() {
    if st2 action get packs.unload >/dev/null 2>&1; then
        quietly st2 run packs.unload packs=laas
    else
        quietly st2 pack register
    fi
}

# StackStorm keeps what it has once registered. What the pack in $stage/new had and this one has no more would still run:
# a rule without its action, an action without its executable.
forget_removed() {
    local kind folder file name
    while read -r kind folder; do
        for file in "$stage/new/$folder"/*.yaml; do
            name=$(basename "$file" .yaml)
            if [ -e "$file" ] && [ ! -e "$pack/$folder/$name.yaml" ] && st2 "$kind" get "laas.$name" >/dev/null 2>&1 </dev/null; then
                st2 "$kind" delete "laas.$name" >/dev/null </dev/null ||
                    say "StackStorm still has what is no longer in the pack: st2 $kind delete laas.$name"
            fi
        done
    done <<<'rule rules
action-alias aliases
policy policies
trigger triggers
action actions'
}

# The executions that work on bookings. StackStorm gives the newest hundred, and a booking does not outlive so many.
in_flight() {
    local action listed
    for action in laas.fulfill_job laas.release_job; do
        listed=$(st2 execution list --showall --action "$action" --last 100 --attr id status --json) || {
            printf '%s\n' "$listed"
            return 1
        }
        python3 -c '
import json, sys
ended = {"succeeded", "failed", "timeout", "abandoned", "canceled", "skipped"}
for execution in json.loads(sys.argv[1]):
    if execution["status"] not in ended:
        print(execution["id"])' "$listed" || return
    done
}

refuse_if_in_flight() {
    local live
    live=$(in_flight) || fail 1 "StackStorm does not say which bookings are being worked on: $live"
    # shellcheck disable=SC2086  # ids are words
    [ -z "$live" ] || fail 3 "bookings are being worked on; try again later, or say --now:" $live
}

# Puts the pack together in $stage/new with the executables of $1.
stage_pack() {
    local name
    rm -rf "$stage/new"
    mkdir -p "$stage/new"
    cp -dR --preserve=mode,timestamps -- "${contents[@]}" "$stage/new/"
    rm -rf "$stage/new/actions/bin"
    mkdir "$stage/new/actions/bin"
    for name in $(executables); do cp -- "$1/$name" "$stage/new/actions/bin/$name"; done
    chmod 755 "$stage/new/actions/bin"/*
    # As StackStorm leaves the packs that it installs itself.
    chmod -R u=rwX,g=rwX,o=rX "$stage/new"
    if getent group st2packs >/dev/null; then chgrp -R st2packs "$stage/new"; fi
}

is_installed() { [ -e "$pack/.installed" ] && diff -rq --no-dereference -x .installed -x __pycache__ "$stage/new" "$pack" >/dev/null; }

# Refuses if the pack would be replaced under bookings that are being worked on, unless $1 is `now`.
may_replace() { [ "$1" = now ] || [ ! -d "$pack" ] || is_installed || refuse_if_in_flight; }

# Makes what is staged the pack that runs. $1 is `now` if bookings that are being worked on don't matter.
install_staged() {
    if [ -d "$pack" ]; then scripts/st2-decisions.py note "$pack" "$stage/decided" || fail 1 "nothing was changed"; fi
    if is_installed; then
        say "the pack in \`$pack\` is up to date"
        register || fail 1 "StackStorm refuses to register the pack"
        return
    fi
    may_replace "$1"
    if [ -d "$pack" ]; then
        touch "$pack/.installed"
        exchange "$stage/new" "$pack"
    else
        touch "$stage/first"
        mv -T "$stage/new" "$pack"
    fi
    register || fail 1 "StackStorm refuses to register the pack"
    touch "$pack/.installed"
    forget_removed
    rm -rf "$stage/new" "$stage/first"
    say "the pack is installed in \`$pack\` and registered"
}

is_filled_in() { ! cmp -s laas.yaml.example "$config"; }

run_doctor() {
    is_filled_in || return 0
    st2 run laas.doctor || fail 1 "the pack is installed, but laas.doctor has found what is above"
}
