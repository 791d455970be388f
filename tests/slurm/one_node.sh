#!/usr/bin/env bash
# Run a command beside a Slurm of one node, this one, started for it and stopped afterwards; needs root and Debian's
# slurm-wlm and munge. `--check` says why it cannot be, and fails then.
set -euo pipefail

missing=""
for program in munged slurmctld slurmd sbatch srun; do
    command -v "$program" > /dev/null || missing+=" $program"
done
if [ -n "$missing" ]; then
    echo "no Slurm to test with:$missing not found (Debian: slurm-wlm and munge)" >&2
    exit 1
elif [ "$(id -u)" != 0 ]; then
    echo "no Slurm to test with: its daemons need root" >&2
    exit 1
fi
[ "${1:-}" = --check ] && exit 0

place=$(mktemp -d /tmp/lpla-slurm-XXXXXX)
chmod 755 "$place"
daemons=()
stop() {
    code=$?
    [ $code = 0 ] || tail -n 20 "$place"/*.log >&2
    for daemon in "${daemons[@]}"; do
        kill "$daemon" 2> /dev/null && wait "$daemon" 2> /dev/null || true
    done
    rm -rf "$place"
    exit $code
}
trap stop EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
until_it_answers() {
    for _ in $(seq 150); do
        "$@" > /dev/null 2>&1 && return
        sleep 0.2
    done
    echo "no answer to: $*" >&2
    return 1
}

# munged refuses to run as another user than the owner of its files.
mkdir "$place/munge" "$place/state" "$place/spool"
dd if=/dev/urandom bs=1 count=1024 of="$place/munge/key" 2> /dev/null
chmod 600 "$place/munge/key"
chown -R munge: "$place/munge"
as_munge=(setpriv --reuid munge --regid munge --clear-groups)
socket=$place/munge/socket
"${as_munge[@]}" munged --foreground --socket "$socket" --key-file "$place/munge/key" \
    --log-file "$place/munge/log" --pid-file "$place/munge/pid" --seed-file "$place/munge/seed" > "$place/munged.log" 2>&1 &
daemons+=($!)
until_it_answers munge --socket "$socket" --no-input

cores=$(nproc)
cat > "$place/slurm.conf" << CONF
ClusterName=lpla
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmUser=root
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
AuthType=auth/munge
AuthInfo=socket=$socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.pid
MpiDefault=none
KillWait=2
# More than there are, as what is tested is that several jobs run at once.
SlurmdParameters=config_overrides
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=$((cores > 4 ? cores : 4)) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
CONF
export SLURM_CONF=$place/slurm.conf
slurmctld -D > "$place/slurmctld.log" 2>&1 &
daemons=($! "${daemons[@]}")
until_it_answers scontrol ping
slurmd -D -N "$(hostname)" > "$place/slurmd.log" 2>&1 &
daemons=($! "${daemons[@]}")
until_it_answers sh -c 'sinfo --noheader --format %t | grep -q idle'
"$@"
