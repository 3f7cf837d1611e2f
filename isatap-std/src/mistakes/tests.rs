//! Mistakes that people make, each with its place and what to write instead.

use crate::config::Config;

fn problems(text: &str) -> Vec<String> {
    Config::parse("", text).err().iter().flatten().map(|problem| problem.to_string()[1..].to_owned()).collect()
}

/// A text, and how each line of the answer begins. Where another module says what a name or
/// an address has to be, the place is enough.
const MISTAKES: &[(&str, &[&str])] = &[
    ("[[isatap-host]]\nrouter = [\"10.0.0.1\", \"10.0.0.256\", \"10.0.0.3\"]\n", &["2:23: 10.0.0.256: "]),
    ("[[isatap-host]]\nrouter = [\"10.0.0.1\", \"a..b\"]\n", &["2:23: a..b: "]),
    ("[[isatap-host]]\nrouter = [\"router.example.net:53\"]\n", &["2:11: router.example.net:53: "]),
    ("[[isatap-host]]\nrouter = [\"2001:db8::1\"]\n", &["2:11: 2001:db8::1: "]),
    ("[[isatap-host]]\nrouter = [\"10.0.0.1:53\"]\n", &["2:11: 10.0.0.1:53: "]),
    ("[[isatap-host]]\nrouter = [\"http://router.example.net/\"]\n", &["2:11: http://router.example.net/: "]),
    ("[[isatap-host]]\nrouter = [\"\"]\n", &["2:11: \"\": "]),
    ("[[isatap-host]]\nrouter = [\" router\"]\n", &["2:11: \" router\": "]),
    ("[[isatap-host]]\nrouter = [\"bücher.example\"]\n", &["2:11: bücher.example: "]),
    (
        "[[isatap-host]]\nrouter = [\"a-b.example\", \"10.0.0.300\", \"c..d\", 5]\n",
        &["2:26: 10.0.0.300: ", "2:40: c..d: ", "2:48: 5: "],
    ),
    ("[[isatap-host]]\nrouter = [10.0.0.1]\n", &["2:11: 10.0.0.1 has no quotes: write \"10.0.0.1\""]),
    (
        "[[isatap-host]]\nrouter = router.example.net\n",
        &["2:10: router.example.net has no quotes: write \"router.example.net\""],
    ),
    ("[[isatap-host]]\nrouter = \"a\", \"b\"\n", &["2:13: several values are a list: write router = [\"a\", \"b\"]"]),
    (
        "[[isatap-host]]\nrouter = [\"a\" \"b\"]\n",
        &["2:15: a comma is missing between two elements of a list: write it in front of \"b\""],
    ),
    ("[[isatap-host]]\nrouter = [\"a\", \"b\"\n", &["2:19: the list has no end: write ] behind its last element"]),
    ("[[isatap-host]]\nrouter = [[\"a\"]]\n", &["2:11: router has a list in its list: write \"a\""]),
    ("[[isatap-host]]\nrouter = [{name=\"a\"}]\n", &["2:11: router is text, not a table: write \"…\""]),
    ("[[isatap-host]]\nrouter = [\"a\", 5, \"b\"]\n", &["2:16: 5: "]),
    (
        "[[isatap-host]]\nlocal = [\"10.0.0.2\", 10, \"10.0.0.3\"]\n",
        &["2:22: 10: not an IPv4 address: write four numbers"],
    ),
    (
        "[[isatap-host]]\nlocal = [\"10.0.0.2\", \"fe80::1\"]\n",
        &["2:22: fe80::1: this is an IPv6 address: write the machine's IPv4 address, for example 10.0.0.2"],
    ),
    (
        "[[isatap-host]]\nlocal = [\"10.0.0.2\", \"eth0\"]\n",
        &[
            "2:22: eth0: this is a name: write an IPv4 address, for example 10.0.0.2, or via = \"eth0\" instead of local for a device's",
        ],
    ),
    (
        "[[isatap-host]]\nlocal = [\"eth0\"]\n",
        &[
            "2:10: eth0: this is a name: write an IPv4 address, for example 10.0.0.2, or via = \"eth0\" instead of local for a device's",
        ],
    ),
    (
        "[[isatap-host]]\nlocal = [\"10.0.0.02\"]\n",
        &["2:10: 10.0.0.02: a number starts with 0: write 10.0.0.2 if you mean decimal"],
    ),
    (
        "[[isatap-host]]\nlocal = [\"10.0.0\"]\n",
        &["2:10: 10.0.0: not an IPv4 address: write four numbers from 0 to 255, for example 10.0.0.2"],
    ),
    ("[[isatap-host]]\nlocal = \"10.0.0.256\"\n", &["2:9: 10.0.0.256: not an IPv4 address: write four numbers"]),
    ("[[isatap-host]]\nvia = [\"eth0\"]\n", &["2:7: via is one value, not a list: write via = \"eth0\""]),
    (
        "[[isatap-host]]\nvia = \"eth0:1\"\n",
        &["2:7: cannot name a device \"eth0:1\": a device name has no space and none of / : %"],
    ),
    (
        "[[isatap-host]]\nvia = \"10.0.0.1\"\n",
        &["2:7: cannot send from the device 10.0.0.1: it is an address; give it as local instead of via"],
    ),
    (
        "[[isatap-host]]\ndev = \"a b\"\n",
        &["2:7: cannot name a device \"a b\": a device name has no space and none of / : %"],
    ),
    (
        "[[isatap-host]]\ndev = \"averyveryverylongdevicename\"\n",
        &["2:7: cannot name a device \"averyveryverylongdevicename\": a device name has 1 to 15 bytes"],
    ),
    ("[[isatap-host]]\ndev = \"\"\n", &["2:7: cannot name a device \"\": a device name has 1 to 15 bytes"]),
    ("[[isatap-host]]\ndev = isatap0\n", &["2:7: isatap0 has no quotes: write \"isatap0\""]),
    ("[[isatap-host]]\ndev = 'isatap0\n", &["2:15: the text has no end: add '"]),
    ("[[isatap-host]]\ndev = \"isatap0\n", &["2:15: the text has no end: add \""]),
    (
        "[[isatap-host]]\ndev: \"isatap0\"\n",
        &["2:4: = is missing between a key and its value: write dev = \"isatap0\""],
    ),
    ("[[isatap-host]]\ndev \"isatap0\"\n", &["2:5: = is missing between a key and its value: write dev = \"isatap0\""]),
    ("[[isatap-host]]\ndev = \"isatap0\"\ndev = \"isatap1\"\n", &["3:1: dev is in line 2 already: write it once"]),
    ("[[isatap-host]]\ndev = \"isatap0\";\n", &["2:16: ; follows the value: write dev = \"isatap0\""]),
    ("[[isatap-host]]\ndev = “isatap0”\n", &["2:7: “isatap0” has typographic quotes: write \"isatap0\""]),
    ("[[isatap-host]]\nmtu = 1400.5\n", &["2:7: mtu is a number of 1280 to 65515, and 1400.5 is not"]),
    ("[[isatap-host]]\nmtu = 70000\n", &["2:7: mtu is a number of 1280 to 65515, and 70000 is not"]),
    ("[[isatap-host]]\nvrf = \"red\"\n", &["2:1: [[isatap-host]] has no key vrf: write bind-device"]),
    ("[[isatap-host]]\nfwmark = 1\n", &["2:1: [[isatap-host]] has no key fwmark: write mark"]),
    ("[[isatap-host]]\nmtu = 00\n", &["2:7: 00 begins with 0: write 0"]),
    ("[[isatap-host]]\nmtu = 01400\n", &["2:7: 01400 begins with 0: write 1400"]),
    ("[[isatap-host]]\nmtu = \"1400 bytes\"\n", &["2:7: mtu is a number: write mtu = 1400"]),
    ("[[isatap-host]]\nttl = 256\n", &["2:7: 256: write a whole number from 1 to 255, or inherit"]),
    (
        "[[isatap-host]]\nprl-refresh-interval = \"1h\"\n",
        &["2:24: prl-refresh-interval is a number: write prl-refresh-interval = 3600"],
    ),
    (
        "[[isatap-host]]\nprl-refresh-interval = 3600s\n",
        &["2:24: 3600s is neither a number nor text in quotes: write digits only, or \"3600s\""],
    ),
    (
        "[[isatap-host]]\nprl-refresh-interval = 36.5\n",
        &["2:24: prl-refresh-interval is a number of 0 or more, and 36.5 is not"],
    ),
    ("[[isatap-host]]\nsolicit-all-routers = yes\n", &["2:23: yes is not a value: write true"]),
    ("[[isatap-host]]\nsolicit-all-routers = True\n", &["2:23: True is not a value: write true"]),
    (
        "[[isatap-host]]\nsolicit-all-routers = 1\n",
        &["2:23: solicit-all-routers is true or false: write solicit-all-routers = true"],
    ),
    (
        "[[isatap-host]]\nno-neighbor-probes = true\n",
        &["2:1: [[isatap-host]] has no key no-neighbor-probes: write neighbor-probes = false"],
    ),
    (
        "[[isatap-host]]\nno-path-mtu-discovery = true\n",
        &["2:1: [[isatap-host]] has no key no-path-mtu-discovery: write path-mtu-discovery = false"],
    ),
    (
        "[[isatap-host]]\nprefix = [\"2001:db8::/64\"]\n",
        &["2:1: [[isatap-host]] has no key prefix, which [[isatap-router]] and [[6rd]] have: it can have "],
    ),
    (
        "[[isatap-host]]\nserver = \"teredo.example.net\"\n",
        &["2:1: [[isatap-host]] has no key server, which [[teredo-client]] and [[dns-update]] have: it can have "],
    ),
    (
        "[[isatap-host]]\nremote = \"10.0.0.1\"\n",
        &["2:1: [[isatap-host]] has no key remote, which [[tunnel]] has: it can have "],
    ),
    ("[[isatap-host]]\nrouters = [\"10.0.0.1\"]\n", &["2:1: [[isatap-host]] has no key routers: write router"]),
    ("[[isatap-host]]\nROUTER = [\"10.0.0.1\"]\n", &["2:1: [[isatap-host]] has no key ROUTER: write router"]),
    ("[[isatap-host]]\n--router = [\"10.0.0.1\"]\n", &["2:1: [[isatap-host]] has no key --router: write router"]),
    ("[[isatap-host]]\n\"router\" = [\"10.0.0.1\", \"1.2.3.4.5\"]\n", &["2:25: 1.2.3.4.5: "]),
    (
        "[[isatap-host]]\nrouter.name = \"a\"\n",
        &["2:1: router is a list, not a table: write router = [\"…\"] below [[isatap-host]]"],
    ),
    (
        "[[isatap-host]]\n[isatap-host.router]\nname = \"a\"\n",
        &["2: router is not a table: write router = VALUE below [[isatap-host]]"],
    ),
    (
        "[[isatap-host]]\nuser = \"isatap\"\n",
        &["2:1: [[isatap-host]] has no key user: write it in front of all tables"],
    ),
    ("[user]\nname = \"x\"\n", &["1: user is not a table: write user = VALUE in front of all tables"]),
    ("user = 5\n[[isatap-host]]\n", &["1:8: user is text: write user = \"5\""]),
    ("users = \"x\"\n[[isatap-host]]\n", &["1:1: users is not a key in front of the tables: write user"]),
    (
        "router = [\"10.0.0.1\"]\n[[isatap-host]]\n",
        &["1:1: router is not a key in front of the tables: write it below [[isatap-host]]"],
    ),
    (
        "dev = \"isatap0\"\n",
        &["1:1: dev is not a key in front of the tables: write it below a header, such as [[isatap-host]]"],
    ),
    ("[isatap-host]\nrouter = [\"10.0.0.1\"]\n", &["1: there can be several of them: write [[isatap-host]]"]),
    (
        "[isatap-host]\nrouter = [\"10.0.0.1\"]\n[isatap-host]\nrouter=[\"10.0.0.2\"]\n",
        &["3:2: isatap-host is in line 1 already: write [[isatap-host]] in front of each"],
    ),
    (
        "[isatap-host]\nrouter = [\"10.0.0.1\"]\n[[isatap-host]]\nrouter=[\"10.0.0.2\"]\n",
        &["3:3: isatap-host is in line 1 already: write [[isatap-host]] in front of each"],
    ),
    (
        "[[isatap-host]]\n[isatap-host]\nrouter = [\"10.0.0.1\"]\n",
        &["2:2: isatap-host is in line 1 already: write [[isatap-host]] in front of each"],
    ),
    ("[[host]]\nrouter = [\"10.0.0.1\"]\n", &["1: no table is named host: write [[isatap-host]]"]),
    ("[[router]]\nlocal = [\"10.0.0.1\"]\n", &["1: no table is named router: write [[isatap-router]]"]),
    (
        "[[isatap]]\nlocal = [\"10.0.0.1\"]\n",
        &["1: no table is named isatap: write [[isatap-host]] or [[isatap-router]]"],
    ),
    (
        "[[teredo]]\nserver = \"x\"\n",
        &["1: no table is named teredo: write [[teredo-client]] or [[teredo-server]] or [[teredo-relay]]"],
    ),
    ("[[sit]]\nlocal = \"1.2.3.4\"\n", &["1: no table is named sit: write [[tunnel]]"]),
    ("[[6in4]]\nlocal = \"1.2.3.4\"\n", &["1: no table is named 6in4: write [[tunnel]]"]),
    (
        "[[6to4-relay]]\nlocal = [\"1.2.3.4\"]\n",
        &["1: no table is named 6to4-relay: write [[6to4]], and role = \"relay\" below"],
    ),
    ("[[ISATAP-host]]\nlocal = [\"1.2.3.4\"]\n", &["1: no table is named ISATAP-host: write [[isatap-host]]"]),
    ("[[teredo client]]\nserver = \"x\"\n", &["1:9: [[teredo client]] is not a header: write [[teredo-client]]"]),
    ("[[isatap-host]\nlocal = [\"10.0.0.2\"]\n", &["1:15: [[isatap-host] is not a header: write [[isatap-host]]"]),
    (
        "[[isatap-host]]local = [\"10.0.0.2\"]\n",
        &["1:16: local = [\"10.0.0.2\"] follows a header: write it in the line below [[isatap-host]]"],
    ),
    ("[isatap-host]]\nlocal = [\"10.0.0.2\"]\n", &["1:14: [isatap-host]] is not a header: write [[isatap-host]]"]),
    (
        "isatap-host = \"x\"\n",
        &["1:15: isatap-host is a table: write [[isatap-host]], and its keys in the lines below"],
    ),
    (
        "isatap-host = [1, 2]\n",
        &[
            "1:16: isatap-host is a table: write [[isatap-host]], and its keys in the lines below",
            "1:19: isatap-host is a table: write [[isatap-host]], and its keys in the lines below",
        ],
    ),
    ("isatap-host = {router = [\"10.0.0.1\"]}\n", &["1:15: isatap-host is a table: write [[isatap-host]], "]),
    ("\tuser = \"x\"\n[[isatap-host]]\n\trouter = [\"10.0.0.1\",\t\"10.0.0.256\"]\n", &["3:24: 10.0.0.256: "]),
    ("[[isatap-host]]\n\trouter = [\"10.0.0.1\",\t\"10.0.0.256\"]\t# comment\n", &["2:24: 10.0.0.256: "]),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\", \"2001:db8:0:8::1/64\", \"10.0.0.0/8\", \"2001:db8:0:9::\"]\n",
        &[
            "3:32: 2001:db8:0:8::1/64: has bits behind its length: write 2001:db8:0:8::/64",
            "3:54: 10.0.0.0/8: an IPv6 prefix was expected: write one as 2001:db8::/64",
            "3:68: 2001:db8:0:9::: the length is missing: for example, write 2001:db8:0:9::/64",
        ],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\", \"2001:db8:0:8::/48\"]\n",
        &["3:32: 2001:db8:0:8::/48: has bits behind its length: write 2001:db8::/48"],
    ),
    ("[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = \"2001:db8:0:7::/64\"\n", &[]),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64/64\"]\n",
        &["3:11: 2001:db8:0:7::/64/64: the length behind the slash is 0 to 128"],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/x\"]\n",
        &["3:11: 2001:db8:0:7::/x: the length behind the slash is 0 to 128"],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/129\"]\n",
        &["3:11: 2001:db8:0:7::/129: the length behind the slash is 0 to 128"],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7/64\"]\n",
        &["3:11: 2001:db8:0:7/64: an IPv6 prefix was expected: write one as 2001:db8::/64"],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [2001:db8:0:7::/64]\n",
        &["3:11: 2001:db8:0:7::/64 has no quotes: write \"2001:db8:0:7::/64\""],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\npreference = \"hihg\"\n",
        &["4:14: preference is one of low, medium, high, and \"hihg\" is not: write preference = \"high\""],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\npreference = \"1\"\n",
        &["4:14: preference is one of low, medium, high, and \"1\" is not"],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\npreference = 1\n",
        &["4:14: preference is one of low, medium, high, and 1 is not"],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\ncheck-neighbors = true\n",
        &["4:19: check-neighbors is one of off, where-blind, on, and true is not: write check-neighbors = \"on\""],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\ncheck-neighbors = \"yes\"\n",
        &["4:19: check-neighbors is one of off, where-blind, on, and \"yes\" is not: write check-neighbors = \"on\""],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\ndns = [\"2001:db8::53\", \"10.0.0.53\", \"2001:db8::5g\"]\n",
        &[
            "4:24: 10.0.0.53: this is an IPv4 address: write an IPv6 address, for example 2001:db8::1",
            "4:37: 2001:db8::5g: not an IPv6 address: write up to eight groups of hexadecimal digits, for example 2001:db8::1",
        ],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\nsearch = [\"corp.example\", \"a..b\", 5]\n",
        &["4:27: a..b: ", "4:35: search is text: write \"5\""],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\nrouter-lifetime = 65536\n",
        &["4:19: router-lifetime is a number of 0 to 65535, and 65536 is not"],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\nvalid-lifetime = 100\npreferred-lifetime = 200\n",
        &["5:22: cannot have addresses preferred for 200 s: addresses are valid for 100 s only; write no more than"],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\nknown-router = [\"10.0.0.7\", \"ro.example\"]\n",
        &["4:29: ro.example: this is a name: write an IPv4 address, for example 10.0.0.2"],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\nno-default = true\n",
        &["4:1: [[isatap-router]] has no key no-default: write default-route = false"],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\ndefault-route = \"off\"\n",
        &["4:17: default-route is true or false: write default-route = false"],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\nadvertise-route = [\"::/0\", \"2001:db8::1/48\"]\n",
        &["4:28: 2001:db8::1/48: has bits behind its length: write 2001:db8::/48"],
    ),
    (
        "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\nlan = [\"eth1\"]\n",
        &["4:1: [[isatap-router]] has no key lan, which [[tunnel]] and [[6rd]] and [[6to4]] have: it can have "],
    ),
    (
        "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\naddress = [\"2001:db8::1/64\", \"2001:db8::2/129\", \"x/64\"]\n",
        &["4:30: 2001:db8::2/129: ", "4:49: x/64: "],
    ),
    (
        "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\naddress = [\"192.0.2.1/24\"]\n",
        &["4:12: 192.0.2.1/24: "],
    ),
    (
        "[[tunnel]]\nremote = \"192.0.2.1\"\nlocal = \"peer.example.net\"\n",
        &["3:9: peer.example.net: this is a name: write an IPv4 address, for example 10.0.0.2"],
    ),
    (
        "[[tunnel]]\nlocal = 192.0.2.1\nremote = 192.0.2.2\n",
        &["2:9: 192.0.2.1 has no quotes: write \"192.0.2.1\"", "3:10: 192.0.2.2 has no quotes: write \"192.0.2.2\""],
    ),
    (
        "[[tunnel]]\n",
        &[
            "1: missing field `remote`: for example, write remote = \"198.51.100.1\"",
            "1: cannot start a tunnel: it has no IPv4 address to send from; give local, or via: ",
        ],
    ),
    ("[[tunnel]]\nlocla = \"192.0.2.1\"\nremote = \"192.0.2.2\"\n", &["2:1: [[tunnel]] has no key locla: write local"]),
    (
        "[[6rd]]\nprefix = \"2001:db8::/32\"\nlocal = \"10.0.0.2\"\nv4-mask-len = \"8\"\n",
        &["4:15: v4-mask-len is a number: write v4-mask-len = 8"],
    ),
    (
        "[[6rd]]\nprefix = \"2001:db8::/32\"\nlocal = \"10.0.0.2\"\nv4-mask-len = 300\n",
        &["4:15: v4-mask-len is a number of 0 to 32, and 300 is not"],
    ),
    (
        "[[6rd]]\nprefix = \"2001:db8::/32\"\nlocal = \"10.0.0.2\"\nrole = \"border-relay\"\n",
        &["4:8: role is one of ce, br, and \"border-relay\" is not: write role = \"br\""],
    ),
    (
        "[[6rd]]\nprefix = \"2001:db8::/32\"\nlocal = \"10.0.0.2\"\nrole = \"pe\"\n",
        &["4:8: role is one of ce, br, and \"pe\" is not: write role = \"ce\""],
    ),
    (
        "[[6rd]]\nprefix = \"2001:db8::/32\"\nlocal = \"10.0.0.2\"\nbr = [\"10.0.0.1\", \"br.example\"]\n",
        &["4:19: br.example: this is a name: write an IPv4 address, for example 10.0.0.2"],
    ),
    (
        "[[6rd]]\nprefix = \"2001:db8::/32\"\nlocal = \"10.0.0.2\"\nlan = [\"eth1\", \"eth2:zz\", \"eth3:10000\"]\n",
        &[
            "4:16: cannot give a prefix to the LAN eth2:zz: \"zz\" is no subnet; write 1 to ffff, as in eth1:a0",
            "4:27: cannot give a prefix to the LAN eth3:10000: \"10000\" is no subnet; write 1 to ffff, as in eth1:a0",
        ],
    ),
    ("[[6rd]]\nprefix = \"2001:db8::/32\"\nlocal = \"10.0.0.2\"\nlan = [1]\n", &["4:8: lan is text: write \"1\""]),
    (
        "[[6rd]]\nprefix = \"2001:db8::/32\"\nlocal = \"10.0.0.2\"\ncustomer = [\"10.0.0.9\"]\n",
        &["4:12: customer is one value, not a list: write customer = \"10.0.0.9\""],
    ),
    ("[[6to4]]\nrelay = \"192.88.99.1:1\"\n", &["2:9: 192.88.99.1:1: "]),
    ("[[6to4]]\nrelay = [\"192.88.99.1\"]\n", &["2:9: relay is one value, not a list: write relay = \"192.88.99.1\""]),
    ("[[6to4]]\nrelay = \"a..b\"\n", &["2:9: a..b: "]),
    (
        "[[6to4]]\nclient = [\"157.60.0.0/16\", \"157.60.0.1/16\"]\n",
        &["2:28: 157.60.0.1/16: has bits behind its length: write 157.60.0.0/16"],
    ),
    ("[[6to4]]\naccept-bogon = true\n", &["2:1: [[6to4]] has no key accept-bogon: write accept-bogons"]),
    ("[[teredo-client]]\nserver = \"teredo.example.net:3544:1\"\n", &["2:10: teredo.example.net:3544:1: "]),
    ("[[teredo-client]]\nserver = \"teredo.example.net:70000\"\n", &["2:10: teredo.example.net:70000: "]),
    ("[[teredo-client]]\nserver = \"-x..y\"\n", &["2:10: -x..y: "]),
    ("[[teredo-client]]\nserver = \"2001:db8::1\"\n", &["2:10: 2001:db8::1: "]),
    ("[[teredo-client]]\nserver = \"\"\n", &["2:10: \"\": "]),
    ("[[teredo-client]]\nserver = 10\n", &["2:10: 10: "]),
    ("[[teredo-client]]\nserver = \"teredo.example.net\"\nbind = 40000\n", &[]),
    (
        "[[teredo-client]]\nserver = \"teredo.example.net\"\nbind = \"10.0.0.1\"\n",
        &["3:8: 10.0.0.1: the port is missing: write [V4]:PORT, such as 192.0.2.1:40000, or 192.0.2.1:0 for any port"],
    ),
    (
        "[[teredo-client]]\nserver = \"teredo.example.net\"\nbind = \":70000\"\n",
        &["3:8: :70000: a port is a number of 0 to 65535: write [V4]:PORT, such as 192.0.2.1:40000 or :40000"],
    ),
    (
        "[[teredo-client]]\nserver = \"teredo.example.net\"\nbind = \"eth0:40000\"\n",
        &[
            "3:8: eth0:40000: no IPv4 address stands in front of the port: write [V4]:PORT, such as 192.0.2.1:40000 or :40000",
        ],
    ),
    (
        "[[teredo-client]]\nserver = \"teredo.example.net\"\nbind = \"[::]:40000\"\n",
        &[
            "3:8: [::]:40000: no IPv4 address stands in front of the port: write [V4]:PORT, such as 192.0.2.1:40000 or :40000",
        ],
    ),
    (
        "[[teredo-client]]\nserver = \"teredo.example.net\"\nport-mapping = true\n",
        &["3:16: true: expected off, auto, pcp or upnp"],
    ),
    (
        "[[teredo-client]]\nserver = \"teredo.example.net\"\nport-mapping = \"yes\"\n",
        &["3:16: yes: expected off, auto, pcp or upnp"],
    ),
    (
        "[[teredo-client]]\nserver = \"teredo.example.net\"\nmtu = 1280\n",
        &["3:1: [[teredo-client]] has no key mtu, which other tables have: it can have "],
    ),
    (
        "[[teredo-client]]\nserver = \"teredo.example.net\"\nrefresh-interval = \"30s\"\n",
        &["3:20: refresh-interval is a number: write refresh-interval = 30"],
    ),
    (
        "[[teredo-client]]\nserver = \"teredo.example.net\"\nno-symmetric-nat = true\n",
        &["3:1: [[teredo-client]] has no key no-symmetric-nat: write symmetric-nat = false"],
    ),
    (
        "[[teredo-server]]\nprimary = [\"1.2.3.4\"]\n",
        &["2:11: primary is one value, not a list: write primary = \"1.2.3.4\""],
    ),
    (
        "[[teredo-server]]\nprimary = \"1.2.3.4\"\nknown-server = [\"1.2.3.5\",\"x\",\"1.2.3.6\", 7]\n",
        &["3:27: x: this is a name: write an IPv4 address, for example 10.0.0.2", "3:42: 7: not an IPv4 address: "],
    ),
    (
        "[[teredo-server]]\nlocal = \"1.2.3.4\"\n",
        &[
            "1: missing field `primary`: for example, write primary = \"198.51.100.1\"",
            "2:1: [[teredo-server]] has no key local, which other tables have: it can have ",
        ],
    ),
    ("[[teredo-relay]]\nlocal = \"1.2.3.4\"\nport = \"40000\"\n", &[]),
    ("[[teredo-relay]]\nlocal = \"1.2.3.4:4000\"\n", &["2:9: 1.2.3.4:4000: a port is not allowed here: write 1.2.3.4"]),
    ("[[teredo-relay]]\nlocal = \"1.2.3.4\"\nbind = \":1\"\n", &[]),
    (
        "[[teredo-relay]]\nlocal = \"1.2.3.4\"\nserve = [\"2001:db8::/32\", \"2001:db8::1/32\", \"x\"]\n",
        &[
            "3:27: 2001:db8::1/32: has bits behind its length: write 2001:db8::/32",
            "3:45: x: an IPv6 prefix was expected: write one as 2001:db8::/64",
        ],
    ),
    ("[[native]]\n[[isatap-host]]\n", &["1: missing field `dev`: for example, write dev = \"eth1\""]),
    (
        "[[native]]\ndev = \"eth1\"\nforwarding = \"yes\"\n[[isatap-host]]\n",
        &["3:14: forwarding is true or false: write forwarding = true"],
    ),
    ("[[native]]\ndevice = \"eth1\"\n[[isatap-host]]\n", &["2:1: [[native]] has no key device: write dev"]),
    ("[native]\ndev=\"eth1\"\n[[isatap-host]]\n", &["1: there can be several of them: write [[native]]"]),
    (
        "[[native]]\ndev = \"a/b\"\n[[isatap-host]]\n",
        &["2:7: cannot name a device \"a/b\": a device name has no space and none of / : %"],
    ),
    (
        "[[isatap-host]]\r\nmtu = \"x\"\r\nttl = 900\r\n",
        &[
            "2:7: mtu is a number of 1280 to 65515, and \"x\" is not",
            "3:7: 900: write a whole number from 1 to 255, or inherit",
        ],
    ),
    ("<xml/>\n", &["1:1: <xml/> is not TOML: write KEY = VALUE, or [[TABLE]]"]),
    ("{\"isatap-host\": []}\n", &["1:1: invalid key-value pair: write KEY = VALUE, or [[TABLE]]"]),
    (
        "isatap-host:\n  - router: a\n",
        &[
            "1:12: isatap-host: is not TOML: write [[isatap-host]]",
            "2:5: - router: a is not TOML: write KEY = VALUE, or [[TABLE]]",
        ],
    ),
    (
        "[Interface]\nName=isatap0\n",
        &[
            "1: no table is named Interface: the tables are [[isatap-host]], ",
            "2:6: isatap0 has no quotes: write \"isatap0\"",
        ],
    ),
    (
        "[[isatap-host]]\nrouter=[\"a\", # c\n\"10.0.0.256\"]#d\nmtu=\"q\"\nxx=1\n",
        &[
            "3:1: 10.0.0.256: ",
            "4:5: mtu is a number of 1280 to 65515, and \"q\" is not",
            "5:1: [[isatap-host]] has no key xx: it can have ",
        ],
    ),
    (
        "[[isatap-host]]\nmember = [\"10.0.0.0/8\", \"10.0.0.1/8\", \"fd00::/8\", \"10.0.0.0\", \"x\"]\n",
        &[
            "2:25: 10.0.0.1/8: has bits behind its length: write 10.0.0.0/8",
            "2:39: fd00::/8: an IPv4 prefix was expected: write one as 10.0.0.0/24",
            "2:51: 10.0.0.0: the length is missing: for example, write 10.0.0.0/24",
            "2:63: x: an IPv4 prefix was expected: write one as 10.0.0.0/24",
        ],
    ),
    ("[[isatap-host]]\nmetric = -5\n", &["2:10: metric is a number of 0 to 4294967295, and -5 is not"]),
    (
        "[[isatap-host]]\naccept-bogons = true\n",
        &["2:1: [[isatap-host]] has no key accept-bogons, which other tables have: it can have "],
    ),
    ("[[isatap-host]]\nverbose = true\n", &["2:1: [[isatap-host]] has no key verbose: it can have "]),
    (
        "[[isatap-host]]\nmtu = 99999999999999999999999\n",
        &["2:7: mtu is a number of 1280 to 65515, and 99999999999999999999999 is not"],
    ),
    ("[[isatap-host]]\nmtu = 1e3\n", &["2:7: mtu is a number of 1280 to 65515, and 1e3 is not"]),
    ("[[isatap-host]]\nmtu =\n", &["2:6: mtu has no value: write mtu = VALUE, or remove the line"]),
    ("[[isatap-host]]\n= 5\n", &["2:1: a key is missing in front of =: write KEY = VALUE"]),
    ("[[isatap-host]]\nmtu\n", &["2:4: mtu has no value: write mtu = VALUE, or remove the line"]),
    (
        "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\nlocal = \"192.0.2.7\"\n",
        &["4:1: local is in line 2 already: write it once"],
    ),
];

#[test]
fn each_mistake_is_told_at_its_place_with_what_to_write() {
    let mut wrong = Vec::new();
    for (text, expected) in MISTAKES {
        let found = problems(text);
        let all_begin = found.iter().zip(*expected).all(|(found, expected)| found.starts_with(expected));
        if !all_begin || found.len() != expected.len() {
            wrong.push(format!("{text}{found:#?}\nexpected {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_long_name_is_cut_in_a_message() {
    let label = "a".repeat(63);
    let long = [label.as_str(); 4].join(".");
    for name in [long, "a".repeat(64)] {
        let found = problems(&format!("[[isatap-host]]\nrouter = [\"a\", \"{name}\"]\n"));
        assert!(found[0].starts_with(&format!("2:16: {}…: ", "a".repeat(60))), "{found:?}");
    }
}

/// What is not TOML hides nothing else, unless it is a header or goes over several lines.
#[test]
fn mistakes_of_every_kind_are_told_at_once() {
    let places = |text: &str| -> Vec<String> {
        problems(text).iter().map(|line| line.split(": ").next().unwrap_or("").to_owned()).collect()
    };
    let text = "[[isatap-host]]\nrouter = [10.0.0.1]\nmtu = \"x\"\ndev = isatap0\ndev = \"x\"\n[[tunnel]]\n\
                local = \"192.0.2.1\"\nrmote = \"1.2.3.4\"\n\n[[isatap-hots]]\nmtu = 1 # x\n[[6rd]]\nprefix = yes\n";
    assert_eq!(places(text), ["2:11", "3:7", "4:7", "5:1", "8:1", "10", "13:10"], "{:#?}", problems(text));
    // Neither a list without an end nor a header is guessed at.
    let found = problems("[[isatap-host]]\nrouter = [\n\"a\"\n[[tunnel]]\nlocal = 1\n");
    assert_eq!(
        found[0], "4:1: a list or a table in braces before this line has no end: write ] or } behind its last element",
        "{found:#?}"
    );
    assert_eq!(places("[[isatap-host]\nmtu = \"x\"\n"), ["1:15"]);
    // What is below it is taken for more of the list, and each header of its name for a second table.
    let tunnels = "[[tunnel]]\nlocal = \"192.0.2.1\"\n".repeat(3);
    assert_eq!(places(&format!("[[isatap-host]]\nrouter = [\n\"a\"\n{tunnels}")), ["4:1"]);
    assert_eq!(places(&format!("[[isatap-host]]\nrouter = {{ name = \"a\"\n{tunnels}")), ["3:1"]);
    assert_eq!(places(&format!("[[isatap-host]]\n[tunnel]]\n{tunnels}")), ["2:9"]);
    // Every element of a list over several lines, with comments that have commas.
    let text = "[[isatap-host]]\nrouter = [\n  \"10.0.0.256\", # one, two\n  \"a\"\n  # three, four\n  , \"b..c\" # five\n  ,\n]\nmtu = 1\n";
    assert_eq!(places(text), ["3:3", "6:5", "9:7"], "{:#?}", problems(text));
}

#[test]
fn a_file_of_another_kind_is_told_in_one_line() {
    let found = problems(&"Some words, and more words.\n\n".repeat(30));
    assert_eq!(found, ["1:6: 30 of 30 lines are not TOML: give a file of tables and keys, as README.md has one"]);
    // A log has many lines: each looks at the mistake before it, not at all.
    let start = std::time::Instant::now();
    let found = problems(&"Nov 29 00:00:06 host daemon: a line of a log\n".repeat(30_000));
    assert!(found.len() == 1 && start.elapsed().as_secs() < 30, "{found:?} in {:?}", start.elapsed());
    // A few lines are told one by one.
    assert_eq!(problems(&"router: a\n".repeat(5)).len(), 5);
}

/// A link's own check names a value: its place is told if one key alone has it.
#[test]
fn what_a_link_refuses_is_told_where_it_stands() {
    let tunnel = "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = ";
    for (text, place) in [
        (format!("{tunnel}\"127.0.0.1\"\n"), "3:10: cannot send to 127.0.0.1: "),
        (format!("{tunnel}\"192.0.2.1\"\n"), "3:10: cannot send to 192.0.2.1: "),
        (format!("{tunnel}\"192.0.2.2\"\nttl = 0\n"), "4:7: cannot set the time to live 0: "),
        (format!("{tunnel}\"192.0.2.2\"\nttl = 0\nmetric = 0\n"), "4:7: cannot set the time to live 0: "),
        (
            "[[isatap-host]]\n[[isatap-host]]\nrouter = \"a\"\ndev = \"isatap0\"\n".to_owned(),
            "4:7: a second link has the device isatap0",
        ),
        (
            "[[isatap-host]]\nrouter = [\"a\", \"127.0.0.1\"]\n[[tunnel]]\nlocal = \"127.0.0.1\"\n".to_owned(),
            "2:16: cannot use the router 127.0.0.1: ",
        ),
    ] {
        let found = problems(&text);
        assert!(found[0].starts_with(place), "{text}{found:#?}");
    }
}
