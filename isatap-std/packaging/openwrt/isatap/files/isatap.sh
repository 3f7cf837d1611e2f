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

# isatap_refuse CONFIG REASON: until the configuration is another.
isatap_refuse() {
	proto_notify_error "$1" "$2"
	proto_block_restart "$1"
}

proto_isatap_setup() {
	local config="$1" dev="is-$1" device address prefix
	local role ipaddr peeraddr ip6addr ip6prefix ip6prefixlen ip4prefixlen tunlink mtu ttl tos metric defaultroute
	local router server flags
	json_get_vars role ipaddr peeraddr ip6prefixlen ip4prefixlen tunlink mtu ttl tos metric defaultroute server
	json_get_values ip6addr ip6addr
	json_get_values ip6prefix ip6prefix
	json_get_values router router
	json_get_values flags flags
	# Lists are split at their spaces, and no `*` becomes names of files here.
	set -f

	# The kernel's names have 15 characters; isatap.event gets ours back from it.
	[ "${#dev}" -le 15 ] || {
		isatap_refuse "$config" NAME_TOO_LONG
		return
	}
	# netifd waits for the interface then, and ends the daemon with it. Without a host: a peer may be a name.
	[ -z "$tunlink" ] || (proto_add_host_dependency "$config" "" "$tunlink")
	[ -z "$tunlink" ] || network_get_device device "$tunlink" || {
		proto_notify_error "$config" NO_DEVICE
		return
	}

	role="${role:-host}"
	case "$role" in
	host | router | tunnel | 6rd | 6to4) set -- "$role" ;;
	teredo) set -- teredo client ;;
	*)
		isatap_refuse "$config" UNKNOWN_ROLE
		return
		;;
	esac
	# Each option's value is one word: none can bring an option of the command with it.
	set -- "$@" --dev "$dev" --hook /lib/netifd/isatap.event
	! grep -q '^isatap:' /etc/passwd || set -- "$@" --user isatap
	case "$role" in
	teredo) set -- "$@" ${server:+--server "$server"} ;;
	*)
		set -- "$@" ${mtu:+--mtu "$mtu"} ${ttl:+--ttl "$ttl"} ${tos:+--tos "$tos"} ${metric:+--metric "$metric"} \
			${ipaddr:+--local "$ipaddr"}
		;;
	esac
	case "$role" in
	host)
		set -- "$@" ${device:+--via "$device"}
		for address in $router; do set -- "$@" --router "$address"; done
		;;
	router)
		for prefix in $ip6prefix; do set -- "$@" --prefix "$prefix"; done
		[ "$defaultroute" != 0 ] || set -- "$@" --no-default-route
		;;
	tunnel)
		set -- "$@" ${device:+--via "$device"} ${peeraddr:+--remote "$peeraddr"}
		for address in $ip6addr; do set -- "$@" --address "$address"; done
		set -- "$@" ${ip6prefix:+--routed-prefix "$ip6prefix"}
		[ "$defaultroute" = 0 ] || set -- "$@" --default-route
		;;
	6rd)
		set -- "$@" ${device:+--via "$device"} \
			${ip6prefix:+--prefix "$ip6prefix${ip6prefixlen:+/$ip6prefixlen}"} \
			${ip4prefixlen:+--v4-mask-len "$ip4prefixlen"} ${peeraddr:+--br "$peeraddr"}
		;;
	6to4) set -- "$@" ${peeraddr:+--relay "$peeraddr"} ;;
	esac

	# shellcheck disable=SC2086
	proto_run_command "$config" /usr/bin/isatap "$@" $flags
}

# Where the daemon has ended by itself, ERROR is its status, and netifd sets the interface up again right after this.
proto_isatap_teardown() {
	proto_kill_command "$1"
	case "$ERROR" in
	'') ;;
	# It refuses an option, and says in the log which. What comes late it waits for by itself.
	1) isatap_refuse "$1" OPTION_REFUSED ;;
	# netifd gives a teardown 5 seconds.
	*) sleep 4 ;;
	esac
}

[ -n "$INCLUDE_ONLY" ] || add_protocol isatap
