# Run as process 1 of a lab host, inside namespaces of its own. Everything made here is gone with the namespaces.
# Arguments: name, rootfs, lab directory, memory directory of the host.
set -eu
name=$1 rootfs=$2 lab=$3 shm=$4
state=$lab/$name
layer=$lab/.layer
root=$layer/root

hostname "$name"
mount -t tmpfs -o mode=755 lab-layer "$layer"
mkdir "$layer/upper" "$layer/work" "$root"
mount -t overlay -o "lowerdir=$rootfs,upperdir=$layer/upper,workdir=$layer/work" lab-root "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --bind /dev "$root/dev"
mount -t tmpfs -o mode=1777 lab-shm "$root/dev/shm"
mount -t tmpfs -o mode=755 lab-run "$root/run"
mkdir -p "$root/run/asterisk"

# Shared, so that a file system mounted under the state directory shows in both views.
mount --bind "$state" "$state"
mount --make-shared "$state"
mkdir -p "$root$state" "$root$shm"
mount --rbind "$state" "$root$state"
mount --bind "$shm" "$root$shm"

# Own name and the lab's names resolve without DNS; any other name fails at once.
for view in "" "$root"; do
    mount --bind "$lab/hosts" "$view/etc/hosts"
    if [ -e "$view/etc/resolv.conf" ]; then
        mount --bind "$lab/resolv.conf" "$(realpath "$view/etc/resolv.conf")"
    fi
done
for setting in /proc/sys/net/ipv6/conf/*/disable_ipv6; do
    echo 1 >"$setting"
done

trap '' CHLD # inherited by cat: the kernel reaps orphans that end up here
echo ready
exec cat     # until the warden closes the pipe or dies
