#!/bin/sh
# For busybox' udhcpc: writes what DHCPv4 says of 6rd into a file that isatap follows, and leaves the
# rest to the usual script.
#
#     udhcpc -i eth0 -O ip6rd -s /usr/local/share/isatap/udhcpc-6rd.sh
#     isatap 6rd --via eth0 --dhcp-lease /run/isatap-lease.eth0 --lan eth1
#
# A udhcpc that does not know the option by this name is asked for it by number: -O 212.

lease_file=${ISATAP_LEASE:-/run/isatap-lease.$interface}
usual=${UDHCPC_SCRIPT:-/etc/udhcpc/default.script}

case $1 in
bound | renew)
	{
		echo "interface='$interface'"
		echo "lease='$lease'"
		echo "ip6rd='${ip6rd:-$opt212}'"
	} >"$lease_file.new" && mv "$lease_file.new" "$lease_file"
	;;
deconfig | leasefail | nak)
	rm -f "$lease_file"
	;;
esac

[ ! -x "$usual" ] || exec "$usual" "$@"
