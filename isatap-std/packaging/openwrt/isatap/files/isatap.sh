#!/bin/sh
# OpenWrt: the protocol `isatap` of /etc/config/network, for netifd. It starts the daemon with the interface's options;
# isatap.event tells netifd what the daemon does. /lib/netifd/proto/isatap.sh

[ -n "$INCLUDE_ONLY" ] || {
	. /lib/functions.sh
	. /lib/functions/network.sh
	. ../netifd-proto.sh
	init_proto "$@"
}

proto_isatap_init_config() {
	no_device=1
	available=1

	# What the link is: host (by default), router, tunnel, 6rd, 6to4 or teredo.
	proto_config_add_string role
	# By these names the options of OpenWrt's 6in4, 6to4 and 6rd are known.
	proto_config_add_string ipaddr
	proto_config_add_string peeraddr
	proto_config_add_array 'ip6addr:list(cidr6)'
	proto_config_add_array 'ip6prefix:list(string)'
	proto_config_add_int ip6prefixlen
	proto_config_add_int ip4prefixlen
	proto_config_add_string tunlink
	proto_config_add_int mtu
	proto_config_add_string ttl
	proto_config_add_string tos
	proto_config_add_defaults
	# An ISATAP host's potential routers, and a Teredo client's server.
	proto_config_add_array 'router:list(host)'
	proto_config_add_string server
	# Anything else that the command takes, such as '--member 10.0.0.0/8'.
	proto_config_add_array 'flags:list(string)'
}

# isatap_flag NAME VALUE: nothing where there is no value.
isatap_flag() {
	[ -z "$2" ] || command="$command $1 $2"
}

# isatap_refuse CONFIG REASON: until the configuration is another.
isatap_refuse() {
	proto_notify_error "$1" "$2"
	proto_block_restart "$1"
}

proto_isatap_setup() {
	local config="$1" dev="is-$1" command device address prefix
	local role ipaddr peeraddr ip6addr ip6prefix ip6prefixlen ip4prefixlen tunlink mtu ttl tos metric defaultroute
	local router server flags
	json_get_vars role ipaddr peeraddr ip6prefixlen ip4prefixlen tunlink mtu ttl tos metric defaultroute server
	json_get_values ip6addr ip6addr
	json_get_values ip6prefix ip6prefix
	json_get_values router router
	json_get_values flags flags

	# The kernel's names have 15 characters; isatap.event gets ours back from it.
	[ "${#dev}" -le 15 ] || {
		isatap_refuse "$config" NAME_TOO_LONG
		return
	}
	[ -z "$tunlink" ] || network_get_device device "$tunlink" || {
		proto_notify_error "$config" NO_DEVICE
		return
	}

	role="${role:-host}"
	command="/usr/bin/isatap"
	case "$role" in
	host | router | tunnel | 6rd | 6to4) command="$command $role" ;;
	teredo) command="$command teredo client" ;;
	*)
		isatap_refuse "$config" UNKNOWN_ROLE
		return
		;;
	esac
	command="$command --dev $dev --hook /lib/netifd/isatap.event"
	! grep -q '^isatap:' /etc/passwd || command="$command --user isatap"
	case "$role" in
	teredo) isatap_flag --server "$server" ;;
	*)
		isatap_flag --mtu "$mtu"
		isatap_flag --ttl "$ttl"
		isatap_flag --tos "$tos"
		isatap_flag --metric "$metric"
		isatap_flag --local "$ipaddr"
		;;
	esac
	case "$role" in
	host)
		isatap_flag --via "$device"
		for address in $router; do isatap_flag --router "$address"; done
		;;
	router)
		for prefix in $ip6prefix; do isatap_flag --prefix "$prefix"; done
		[ "$defaultroute" != 0 ] || command="$command --no-default-route"
		;;
	tunnel)
		isatap_flag --via "$device"
		isatap_flag --remote "$peeraddr"
		for address in $ip6addr; do isatap_flag --address "$address"; done
		isatap_flag --routed-prefix "$ip6prefix"
		[ "$defaultroute" = 0 ] || command="$command --default-route"
		;;
	6rd)
		isatap_flag --via "$device"
		isatap_flag --prefix "${ip6prefix:+$ip6prefix${ip6prefixlen:+/$ip6prefixlen}}"
		isatap_flag --v4-mask-len "$ip4prefixlen"
		isatap_flag --br "$peeraddr"
		;;
	6to4) isatap_flag --relay "$peeraddr" ;;
	esac

	# What it refuses it says in the log, and with a status; netifd starts it again after a while.
	# shellcheck disable=SC2086
	proto_run_command "$config" $command $flags
}

proto_isatap_teardown() {
	proto_kill_command "$1"
}

[ -n "$INCLUDE_ONLY" ] || add_protocol isatap
