# Boots a Debian root file system as a lab machine: process 1 of namespaces of its own, which becomes systemd-nspawn.
# Everything made here is gone with the namespaces, but for the control groups, which the warden removes.
# Arguments: name, rootfs, lab directory, name of the control group.
set -eu
name=$1 rootfs=$2 lab=$3 group=$4
state=$lab/$name
layer=$lab/.layer
root=$layer/root

# Named by its own: nspawn puts its payload below the group it was started in.
for tree in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    if [ -e "$tree/cgroup.procs" ]; then
        mkdir "$tree/$group"
        echo 0 >"$tree/$group/cgroup.procs"
    fi
done
# nspawn keeps locks and a propagation directory here.
mkdir -p /run/systemd
mount -t tmpfs -o mode=755 lab-run /run/systemd
mount -t tmpfs -o mode=755 lab-layer "$layer"
mkdir "$layer/upper" "$layer/work" "$root"
mount -t overlay -o "lowerdir=$rootfs,upperdir=$layer/upper,workdir=$layer/work" lab-root "$root"
# What makes this machine itself: its name, addresses, keys.
cp -a "$state/seed/." "$root/"
rm -r "$state/seed"

echo ready
read -r go # the warden has plugged the cable in
[ "$go" = go ]
for setting in /proc/sys/net/ipv6/conf/*/disable_ipv6; do
    echo 1 >"$setting"
done
# A machine has a firewall and network settings of its own; nspawn gives them only with a network that it made itself.
export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 # where the machine still has the old layout, too
exec systemd-nspawn --quiet --directory="$root" --boot --register=no --keep-unit --machine="$name" \
    --network-namespace-path=/proc/self/ns/net --capability=CAP_NET_ADMIN,CAP_NET_RAW --console=read-only --link-journal=no --resolv-conf=off \
    --timezone=off </dev/null >"$state/logs/console.log" 2>&1
