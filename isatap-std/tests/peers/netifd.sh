# Plays OpenWrt's shell libraries for protocol handlers, as their documentation has them: what a handler calls, with what
# netifd would be told written into /run/netifd.log, one line a message. JSON is read by jq.

# jshn.sh
json_init() { JSON_DATA='{}' JSON_PATH=.; }
json_load() { JSON_DATA=$1 JSON_PATH=.; }
json_at() { printf '%s\n' "$JSON_DATA" | jq -r "$JSON_PATH | $1"; }
json_select() {
	case $1 in
	..) JSON_PATH=${JSON_PATH% | *} ;;
	*) JSON_PATH="$JSON_PATH | if type == \"array\" then .[$(($1)) - 1] else .[\"$1\"] end" ;;
	esac
}
json_get_var() { eval "$1=\$(json_at '.[\"$2\"] | if . == null then \"\" elif . == true then 1 elif . == false then 0 else tostring end')"; }
json_get_vars() { for json_name; do json_get_var "$json_name" "$json_name"; done; }
json_get_values() { eval "$1=\$(json_at '.[\"$2\"] // [] | map(tostring) | join(\" \")')"; }
json_is_a() { [ "$(json_at ".[\"$1\"] | type")" = "$2" ]; }
json_for_each_item() {
	json_items=$(json_at ".[\"$2\"] // [] | length")
	json_item=1
	json_select "$2"
	while [ "$json_item" -le "$json_items" ]; do
		"$1" '' "$json_item"
		json_item=$((json_item + 1))
	done
	json_select ..
}

# network.sh
network_get_device() { [ "$2" = wan ] && eval "$1=eth0"; }

# netifd-proto.sh
tell() { echo "$*" >>/run/netifd.log; }
proto_config_add_string() { tell "option $1"; }
proto_config_add_int() { tell "option $1"; }
proto_config_add_array() { tell "list ${1%%:*}"; }
proto_config_add_defaults() { tell "option defaultroute"; }
proto_notify_error() { tell "$1 error $2"; }
proto_add_host_dependency() { tell "$1 depends on ${3:-any interface} for ${2:-any host}"; }
proto_block_restart() { tell "$1 blocked"; }
proto_init_update() { json_init; update="device $1 up $2 external ${3:-0}"; }
proto_add_ipv6_address() { update="$update address $1/$2 $3 $4"; }
proto_add_ipv6_prefix() { update="$update prefix $1"; }
proto_add_dns_server() { update="$update dns $1"; }
proto_add_dns_search() { update="$update search $1"; }
proto_send_update() { tell "$1 $update"; }
proto_run_command() {
	process=$1
	shift
	tell "$process runs$(printf ' <%s>' "$@")"
	setsid "$@" </dev/null >"/run/$process.log" 2>&1 &
	echo $! >"/run/$process.pid"
}
proto_kill_command() { kill -"${2:-TERM}" "$(cat "/run/$1.pid")"; }
# Told, so that tests need not wait.
sleep() { tell "$config sleeps $1"; }

# HANDLER PROTOCOL setup|teardown INTERFACE DATA, or HANDLER "" dump, in the folder of the handlers.
init_proto() {
	proto=$1 act=$2 config=$3
	json_load "${4:-{\}}"
}
add_protocol() {
	case $act in
	dump) "proto_$1_init_config" && tell "protocol $1 device $((1 - no_device)) available $available" ;;
	*) [ "$proto" != "$1" ] || "proto_$1_$act" "$config" ;;
	esac
}
