#!/usr/bin/env python3
"""Writes embedded.json: IPv6 addresses, and every IPv4 address hidden in them.

    python3 embedded.py > embedded.json     then look at the difference

Made for filters in other languages to test themselves with, and as a second
opinion on isatap_core::embedded: this script shares nothing with the Rust code
but the RFCs. Where the standard library of Python knows a form, its answer is
compared too. The test embedded_vectors of isatap-core reads the result.
"""
import ipaddress
import json
import random
import sys

V6, V4 = ipaddress.IPv6Address, ipaddress.IPv4Address
NET6, NET4 = ipaddress.IPv6Network, ipaddress.IPv4Network

# The IANA special-purpose registries (IPv6: of 2025-10-09), by their column "Globally Reachable"; "N/A" and blocks
# that have been given back stand as no. The smallest block counts.
REGISTRY = {
    True: """192.0.0.9/32 192.0.0.10/32 192.31.196.0/24 192.52.193.0/24 192.175.48.0/24 64:ff9b::/96 2001:1::1/128
        2001:1::2/128 2001:1::3/128 2001:3::/32 2001:4:112::/48 2001:20::/28 2001:30::/28 2620:4f:8000::/48""",
    False: """0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
        192.0.0.0/29 192.0.0.8/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.88.99.0/24 192.88.99.2/32
        192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 255.255.255.255/32 ::1/128 ::/128
        ::ffff:0:0/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:2::/48 2001:10::/28
        2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10""",
}
# What the registries do not have: multicast, and the 6bone [RFC 3701]. Of the rest of IPv6, 2000::/3 is given out.
OTHERS = {False: "224.0.0.0/4 3ffe::/16 ::/0", True: "2000::/3 0.0.0.0/0"}
# Answered by the network around, whatever the registry says: Azure's platform, port control [RFC 7723], TURN
# [RFC 8155], registration of services [RFC 9665].
SERVICES = [ipaddress.ip_address(text) for text in
            "168.63.129.16 192.0.0.9 192.0.0.10 2001:1::1 2001:1::2 2001:1::3".split()]
BLOCKS = [(ipaddress.ip_network(text), reachable) for table in (REGISTRY, OTHERS)
          for reachable, texts in table.items() for text in texts.split()]


def low32(address):
    return V4(int(address) & 0xffffffff)


def at(address, places):
    return V4(bytes(address.packed[place] for place in places))


NAT64_PLACES = {32: (4, 5, 6, 7), 40: (5, 6, 7, 9), 48: (6, 7, 9, 10), 56: (7, 9, 10, 11), 64: (9, 10, 11, 12),
                96: (12, 13, 14, 15)}


def nat64(address, length):
    return at(address, NAT64_PLACES[length]) if address.packed[8] == 0 else None


def entry(ipv4, form, role="embedded", port=None):
    found = {"ipv4": str(ipv4), "form": form, "role": role}
    if port is not None:
        found["port"] = port
    return found


def embedded(address, known):
    """Every IPv4 address in an address, outermost first."""
    found = []
    for domain in known.get("6rd", []):
        prefix, common = NET6(domain["prefix"]), NET4(domain["ipv4"])
        if address in prefix:
            # As text: the common bits of the block, then what follows the prefix.
            bits, own = f"{int(address):0128b}", 32 - common.prefixlen
            common_bits = f"{int(common.network_address):032b}"[:common.prefixlen]
            start = prefix.prefixlen
            found.append(entry(V4(int(common_bits + bits[start:start + own], 2)), "6rd"))
    for text in known.get("nat64", []):
        prefix = NET6(text)
        if address in prefix and nat64(address, prefix.prefixlen) is not None:
            found.append(entry(nat64(address, prefix.prefixlen), "nat64"))
    if address.ipv4_mapped is not None:
        found.append(entry(address.ipv4_mapped, "ipv4-mapped"))
    elif address in NET6("::ffff:0:0:0/96"):
        found.append(entry(low32(address), "ipv4-translated"))
    elif address in NET6("::/96") and int(address) > 1:
        found.append(entry(low32(address), "ipv4-compatible"))
    elif address in NET6("64:ff9b::/96"):
        found.append(entry(low32(address), "nat64"))
    elif address in NET6("64:ff9b:1::/48") and address.packed[8] == 0:
        readings = [nat64(address, length) for length in (48, 56, 64, 96)]
        plausible = [ipv4 for ipv4 in readings if ipv4 not in NET4("0.0.0.0/8")]
        found += [entry(ipv4, "nat64") for ipv4 in plausible or ([] if found else readings[-1:])]
    elif address.sixtofour is not None:
        found.append(entry(address.sixtofour, "6to4"))
    elif address in NET6("2001::/32") or address in NET6("3ffe:831f::/32"):
        server, client = at(address, (4, 5, 6, 7)), V4(int(low32(address)) ^ 0xffffffff)
        assert address.teredo in (None, (server, client))
        port = int.from_bytes(address.packed[10:12], "big") ^ 0xffff
        found += [entry(server, "teredo", "server"), entry(client, "teredo", "client", port)]
    elif address in NET6("fe80::/64"):
        if address.packed[8:12] == bytes(4):
            if low32(address) not in NET4("0.0.0.0/8"):
                found.append(entry(low32(address), "configured-link-local"))
        else:
            found += teredo_identifier(address)
    if not address.is_multicast and address.packed[8] in (0, 2) and address.packed[9:12] == bytes.fromhex("005efe"):
        found.append(entry(low32(address), "isatap"))
    unique = []
    for one in found:
        if one not in unique:
            unique.append(one)
    return unique


def teredo_identifier(address):
    identifier = address.packed[8:]
    ipv4 = V4(bytes(octet ^ 0xff for octet in identifier[4:]))
    port = int.from_bytes(identifier[2:4], "big") ^ 0xffff
    if (identifier[:2] not in (b"\0\0", b"\x80\0") or identifier[:4] == bytes(4) or identifier[3:5] == b"\xff\xfe"
            or identifier[2:] == b"TEREDO" or not 1 <= ipv4.packed[0] <= 239):
        return []
    is_server = identifier[:2] == b"\x80\0" and port == 3544
    return [entry(ipv4, "teredo", "server" if is_server else "client", port)]


def is_reachable(address):
    """Of the address alone, from anywhere."""
    around = [(net.prefixlen, reachable) for net, reachable in BLOCKS
              if net.version == address.version and address in net]
    return address not in SERVICES and max(around)[1]


def is_public_6(address):
    """Of the address alone; where only what is inside counts, the caller asks that anyway."""
    if address in NET6("2002::/16") or address in NET6("2001::/32") or address in NET6("64:ff9b::/96"):
        return True
    return is_reachable(address)


def vector(text, known=None):
    address = V6(text)
    found = embedded(address, known or {})
    itself = True if address.ipv4_mapped is not None else is_public_6(address)
    made = {"address": str(address), "octets": address.packed.hex(), "embedded": found,
            "public": itself and all(is_reachable(V4(one["ipv4"])) for one in found)}
    if known:
        made["known"] = known
    return made


def vectors():
    # Kept by hand: examples of the standards and of captures, and what looks like a form and is none.
    for text in """
        :: ::1 ::2 ::0.0.1.0 ::127.0.0.1 ::10.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0.0.0.0
        ::ffff:169.254.169.254 ::ffff:0:10.0.0.1 ::ffff:0:8.8.8.8 ::fffe:10.0.0.1 ::1:ffff:10.0.0.1 ::5efe:10.0.0.1
        64:ff9b::c000:221 64:ff9b::7f00:1 64:ff9b::8.8.8.8 64:ff9b::1:8.8.8.8 64:ff9b:1::10.0.0.1
        64:ff9b:1::8.8.8.8 64:ff9b:1:a00:0:500:: 64:ff9b:1:fffe::7f00:1 64:ff9b:1:7f:0:1:: 64:ff9b:1::
        64:ff9b:1:0:a::1 64:ff9b:1:0:7f:0:100:0 64:ff9b:2::10.0.0.1
        2002:7f00:1:: 2002:a00:1::1 2002:c0a8:101::1 2002:808:808::1 2002:9d3c:1::9d3c:1 2002:836b:1759:5::1
        2002:c058:6301:: 2002:a9fe:a9fe:: 2002:808:808::5efe:a00:1 2002:808:808::200:5efe:808:808
        2002:808:808:1:0:efff:80ff:fffe 2002:808:808:1:0:efff:f7f7:f7f7 2002:808:808:0:8000:f227:f5ff:fffe
        2002:808:808::1:2:3 2002:808:808:0:ff:fe00:1:2 2002:: 2003:808:808::1
        2001:0:ce49:7601:e866:efff:62c3:fffe 2001:0:ce49:7601:2cad:dfff:7c94:fffe 2001:0:8e0:1:0:ffff:f5ff:fffe
        2001:0:ce49:7601:8000:efff:62c3:fffe 2001:0:cb00:7178:0:efff:3fff:fdfe 2001:0:c633:6476:0:dfff:3fff:fdf5
        2001:0:cb00:7178:0:f000:39cc:9b89 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:0:c633:6401:0:dfff:34ff:8ef5
        2001:0:808:808:0:efff:f7f7:f7f7 2001:0:a00:1:0:efff:f7f7:f7f7 2001:0:808:808:0:5efe:f5ff:fffe
        2001:0:808:808:ffff:ffff:ffff:ffff 2001:: 2001:1::1 3ffe:831f:ce49:7601:8000:efff:62c3:fffe
        3ffe:831f:a00:1:0:efff:f5ff:fffe 3ffe:8320::1
        fe80::1 fe80::2:3 fe80::10.0.0.1 fe80::c000:201 fe80::5efe:10.0.0.1 fe80::200:5efe:8.8.8.8
        fe80::100:5efe:10.0.0.1 fe80::300:5efe:10.0.0.1 fe80::5eff:10.0.0.1 fe80::1:5efe:10.0.0.1
        fe80::ffff:ffff:ffff fe80::8000:ffff:ffff:ffff fe80::5445:5245:444f fe80::8000:5445:5245:444f
        fe80::ffff:ffff:fffe fe80::8000:ffff:ffff:fffd fe80::8000:f227:31b6:89fe fe80::8000:f227:39cc:9bfe
        fe80::8000:f227:3d77:e3b3 fe80::ff:fe00:1 fe80::8000:f227:f5ff:fffe fe80::efff:f5ff:fffe
        fe80::6417:cee2:b183:2e3d fe80:0:0:1::10.0.0.1 fe81::10.0.0.1 fe80::fc:feff:fe00:1
        2606:4700::5efe:a00:1 2606:4700::200:5efe:808:808 2606:4700:4700::1111 2001:4860:4860::8888
        2001:db8:0:7:0:5efe:a00:2 fd9c:30c:2da4:1:0:5efe:ac10:a19 fd00::1 fc00::5efe:7f00:1 fec0::5efe:a00:1
        ff02::1 ff02::5efe:10.0.0.1 ff3e:30:2002:a00:1::1 2001:db8::1 3fff::1 100::1 5f00::1 4000::1
    """.split():
        yield vector(text)

    domains = [
        {"prefix": "2001:db8::/32", "ipv4": "10.0.0.0/8"}, {"prefix": "2001:db8::/32", "ipv4": "0.0.0.0/0"},
        {"prefix": "2001:db8:80::/41", "ipv4": "172.16.0.0/16"}, {"prefix": "2001:db8::/30", "ipv4": "172.16.0.0/12"},
        {"prefix": "2001:db8:8000::/33", "ipv4": "10.0.0.0/8"}, {"prefix": "2001:db8:1::/56", "ipv4": "192.0.2.0/24"},
        {"prefix": "2001:db8:1::/64", "ipv4": "192.0.2.129/32"}, {"prefix": "2a01:e00::/26", "ipv4": "0.0.0.0/0"},
    ]
    for text in """2001:db8:6464:100::1 2001:db8:0:100:: 2001:db8:c000:201::1 2001:db8:ff:8180::1 2001:db8:4040:8000::
        2001:db8:8081:180::1 2001:db8:1:81::1 2001:db8:1::1 2001:db9::1 2001:db8:6464:100:0:5efe:a00:1
        2a01:e35:8b0f:1b20::1 2a01:e02:2:40::1""".split():
        for domain in domains:
            yield vector(text, {"6rd": [domain]})
    yield vector("2001:db8:7f00:1::1", {"6rd": domains})
    yield vector("2002:808:808::1", {"6rd": [{"prefix": "2002::/16", "ipv4": "0.0.0.0/0"}]})

    prefixes = ["2001:db8::/32", "2001:db8:100::/40", "2001:db8:122::/48", "2001:db8:122:300::/56",
                "2001:db8:122:344::/64", "2001:db8:122:344::/96", "fd9c:30c:2da4:7777::/96", "2600:1234:5678::/96"]
    for text in """2001:db8:c000:221:: 2001:db8:1c0:2:21:: 2001:db8:122:c000:2:2100:: 2001:db8:122:3c0:0:221::
        2001:db8:122:344:c0:2:2100:0 2001:db8:122:344::c000:221 fd9c:30c:2da4:7777::a00:5
        fd9c:30c:2da4:7777::ac10:a19 2001:db8:122:344:100::c000:221 2600:1234:5678::7f00:1
        2600:1234:5678::808:808""".split():
        for prefix in prefixes:
            yield vector(text, {"nat64": [prefix]})
        yield vector(text, {"nat64": prefixes})

    # Each form of each of these, and bits drawn at random around what the forms look at.
    ipv4s = """0.0.0.0 0.0.0.1 10.0.0.1 100.64.0.1 127.0.0.1 169.254.169.254 172.16.0.1 172.31.255.255 172.32.0.0
        168.63.129.16 192.0.0.1 192.0.0.9 192.0.0.10 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1
        255.255.255.255 1.1.1.1 8.8.8.8""".split()
    for text in ipv4s:
        ipv4 = int(V4(text))
        inverse = ipv4 ^ 0xffffffff
        for number in (
            0xffff << 32 | ipv4, 0xffff << 48 | ipv4, 0x64ff9b << 96 | ipv4, 0x64ff9b0001 << 80 | ipv4,
            0x2002 << 112 | ipv4 << 80 | 1, 0x2002 << 112 | ipv4 << 80 | ipv4,
            0x20010000 << 96 | 0x08080808 << 64 | 0xefff << 32 | inverse,
            0x20010000 << 96 | ipv4 << 64 | 0x2cadefff << 32 | 0xf7f7f7f7,
            0x3ffe831f << 96 | 0x08080808 << 64 | 0xefff << 32 | inverse,
            0xfe80 << 112 | ipv4, 0xfe80 << 112 | 0x5efe << 32 | ipv4, 0xfe80 << 112 | 0x8000f227 << 32 | inverse,
            0x26064700 << 96 | 0x5efe << 32 | ipv4, 0x26064700 << 96 | 0x02005efe << 32 | ipv4,
            0x20020808 << 96 | 0x0808 << 80 | 0x5efe << 32 | ipv4,
            0x20020808 << 96 | 0x0808 << 80 | 0xefff << 32 | inverse,
        ):
            yield vector(V6(number))
        if ipv4 > 1:
            yield vector(V6(ipv4))
    # The first and the last address of each block, and one beside each; IPv4 by its mapped address.
    for net, _ in BLOCKS:
        first, last = int(net[0]), int(net[-1])
        for number in (first - 1, first, last, last + 1):
            if 0 <= number < 1 << net.max_prefixlen:
                yield vector(V6(number if net.version == 6 else 0xffff << 32 | number))
    drawn = random.Random(5214)
    heads = [0, 0x64ff9b << 32, 0x64ff9b0001 << 16, 0x2002 << 48, 0x20010000 << 32, 0x3ffe831f << 32, 0xfe80 << 48,
             0x2606 << 48, 0xff02 << 48]
    tails = [0, 0xffff << 32, 0xffff << 48, 0x5efe << 32, 0x02005efe << 32, 0x8000f227 << 32, 0x80000000 << 32]
    for _ in range(400):
        high = drawn.choice(heads) | drawn.getrandbits(64) & drawn.choice([0, 0xffff, 0xffffffff])
        low = drawn.choice(tails) ^ drawn.getrandbits(64) & drawn.choice([0xffffffff, 0xffffffffffff, 1 << 40, 1 << 56])
        yield vector(V6(high << 64 | low))


def main():
    out = sys.stdout
    out.write('{\n"about": "IPv6 addresses and every IPv4 address in them; made by embedded.py, see there",\n')
    out.write('"forms": "isatap 6to4 6rd teredo ipv4-mapped ipv4-compatible ipv4-translated nat64 '
              'configured-link-local",\n')
    out.write('"public": "whether a filter for public addresses may let the address in: itself and all in it",\n')
    out.write('"vectors": [\n')
    unique = {json.dumps(one): None for one in vectors()}
    out.write(",\n".join(unique))
    out.write("\n]\n}\n")


if __name__ == "__main__":
    main()
