#!/bin/bash
# First process of a guest, user-mode Linux or qemu (started by ../common/guest.rs).
#
# The guest's root file system is the host's, read-only, by hostfs or 9p. Only the
# directory $ISATAP_SHARE of the host (`9p`: the share that qemu gives) can be written;
# it is mounted at /run/share. The host asks for a command by creating request.N there (a shell
# script, its time limit in the first line); the guest answers with output.N
# and, when the command has ended, one line in status.N. Requests run side by side.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run LANG=C.UTF-8

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /run/share /run/lock /run/kernel/lib/modules /dev/net
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
if [ "$ISATAP_SHARE" = 9p ]; then
  mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072,cache=none share /run/share
else
  mount -t hostfs -o "$ISATAP_SHARE" none /run/share
fi || { echo "guest: cannot mount $ISATAP_SHARE"; exec sleep 1; }
echo "$ISATAP_NAME" >/proc/sys/kernel/hostname

# The modules of this kernel are apart from those of the host's.
read -r release </proc/sys/kernel/osrelease
ln -s "${ISATAP_MODULES:-/usr/lib/uml/modules}/$release" "/run/kernel/lib/modules/$release"
[ "$ISATAP_SHARE" != 9p ] || modprobe -d /run/kernel virtio_net || echo "guest: no virtio_net"
modprobe -d /run/kernel sit || echo "guest: no sit"

ip link set lo up
# Nobody else is on a link of a test: addresses are usable at once, errors are never held back.
for setting in ipv6/conf/all/accept_dad ipv6/conf/default/accept_dad ipv4/icmp_ratelimit ipv6/icmp/ratelimit; do
  echo 0 >"/proc/sys/net/$setting"
done

cd /run
# A process costs a guest some 50 ms, so the loop has none of its own: it waits by reading from a pipe that stays empty,
# and stops by itself what takes longer than its limit. For that each request has a process group (-m).
mkfifo /run/empty
exec 9<>/run/empty
set -m
declare -A until=() number=()
: >/run/share/booted
next=1
while [ ! -e /run/share/power-off ]; do
  if [ -e "/run/share/request.$next" ]; then
    { read -r limit; IFS= read -r -d '' script; } <"/run/share/request.$next"
    (
      (eval "$script") >"/run/share/output.$next" 2>&1 </dev/null 9>&-
      # The host takes it as complete when the line has its end.
      echo $? >"/run/share/status.$next"
    ) &
    until[$!]=$((SECONDS + ${limit%.*} + 1)) number[$!]=$next
    next=$((next + 1))
  else
    read -r -t 0.02 -u 9
  fi
  for group in "${!until[@]}"; do
    if [ -e "/run/share/status.${number[$group]}" ]; then
      unset "until[$group]" "number[$group]"
    elif ((SECONDS > until[$group])); then
      kill -KILL -- "-$group"
      echo 124 >"/run/share/status.${number[$group]}"
    fi
  done
done
echo o >/proc/sysrq-trigger
sleep 10
