# For ISC dhclient: copy this to /etc/dhcp/dhclient-exit-hooks.d/isatap. It writes what DHCPv4 says of
# 6rd into a file that isatap follows. Have dhclient ask for the option, in /etc/dhcp/dhclient.conf:
#
#     option option-6rd code 212 = { integer 8, integer 8, ip6-address, array of ip-address };
#     also request option-6rd;
#
#     isatap 6rd --via eth0 --dhcp-lease /run/isatap-lease.eth0 --lan eth1
#
# Without it isatap can follow dhclient's own file, /var/lib/dhcp/dhclient.eth0.leases; a lease that
# dhclient gives up early stays there.

isatap_lease=${ISATAP_LEASE:-/run/isatap-lease.$interface}
case $reason in
BOUND | RENEW | REBIND | REBOOT)
	{
		echo "interface='$interface'"
		echo "lease='$new_dhcp_lease_time'"
		echo "ip6rd='$new_option_6rd'"
	} >"$isatap_lease.new" && mv "$isatap_lease.new" "$isatap_lease"
	;;
EXPIRE | FAIL | RELEASE | STOP | TIMEOUT)
	rm -f "$isatap_lease"
	;;
esac
unset isatap_lease
